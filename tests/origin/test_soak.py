"""Two minutes of players while the bucket has changing faults."""

import asyncio
import hashlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from headend.core.storage.memory import MemoryStore
from tests.origin.faulty_s3 import BUCKET, Fault, FaultyS3, breaks_off_after, claims, faulty_s3, refuses, works
from tests.origin.grants import PLAYBACK, token
from tests.origin.releases import MULTIVARIANT, PICTURE, RELEASE, TITLE, ask, put_release
from tests.support.command_line import environment

SOAK_S = 120
CLIENTS = 24
MEMORY = 8 << 20
"""Budget of the origin for files: an eighth of the title."""
PROGRAM = f"""
import os
from headend.core.access.tokens import read_keys
from headend.core.settings import StoreSettings
from origin.serving import OriginSettings, serve
keys = read_keys(os.environ["KEYS"], "keys") if os.environ.get("KEYS") else None
settings = OriginSettings(cache_bytes={MEMORY}, keys=keys)
serve(StoreSettings("s3://{BUCKET}"), port=0, on_ready=lambda url: print(url, flush=True), settings=settings)
"""
ROOT = f"/{TITLE}/releases/{RELEASE}"
TRACKS = f"/{TITLE}/tracks"
BODIES = tuple(hashlib.shake_256(bytes([number])).digest(700_000 + number * 10_000) for number in range(64))
FAULTS: tuple[Fault, ...] = (
    works,
    works,
    refuses(503),
    refuses(500),
    refuses(403),
    breaks_off_after(200_000),
    claims(BODIES[0]),
    claims(BODIES[1][:-1] + b"x"),
)


def memory_bytes(pid: int) -> int:
    """Return a process's private memory, with its files in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))
    files = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            files += link.stat().st_blocks * 512 if "memfd" in str(link.readlink()) else 0
    return own + files


async def play(url: str, prefix: str, seen: Counter[str], until_s: float) -> None:
    """One player after the other: each starts somewhere, and some stop in the middle."""
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40), headers=plain) as session:

        async def whole(number: int) -> None:
            async with session.get(f"{url}{prefix}{TRACKS}/{PICTURE}/{number + 1}.m4s") as answer:
                body = await answer.read()
                assert answer.status != 200 or body == BODIES[number]
                seen[f"segment {answer.status}"] += 1

        async def part(number: int) -> None:
            wanted = {"Range": "bytes=1000-300999"}
            async with session.get(f"{url}{prefix}{TRACKS}/{PICTURE}/{number + 1}.m4s", headers=wanted) as answer:
                body = await answer.read()
                assert answer.status != 206 or body == BODIES[number][1000:301_000]
                seen[f"range {answer.status}"] += 1

        async def leave(number: int) -> None:
            async with session.get(f"{url}{prefix}{TRACKS}/{PICTURE}/{number + 1}.m4s") as answer:
                if answer.status == 200:
                    start = await answer.content.read(10_000)
                    assert start == BODIES[number][: len(start)]
                answer.close()
                seen["left"] += 1

        async def revalidate(number: int) -> None:
            tag = f'"{hashlib.sha256(BODIES[number]).hexdigest()}"'
            async with session.get(
                f"{url}{prefix}{TRACKS}/{PICTURE}/{number + 1}.m4s", headers={"If-None-Match": tag}
            ) as answer:
                assert answer.status in (304, 502, 503)
                seen[f"revalidation {answer.status}"] += 1

        async def enter(_: int) -> None:
            async with session.get(f"{url}{prefix}/{TITLE}/multivariant.m3u8") as answer:
                assert (answer.status, await answer.read()) == (200, MULTIVARIANT)
                seen["entry 200"] += 1

        ways: tuple[Callable[[int], Awaitable[None]], ...] = (whole, whole, whole, part, leave, revalidate, enter)
        while time.monotonic() < until_s:
            number = random.randrange(len(BODIES))
            for step in range(random.randrange(1, 10)):
                try:
                    await random.choice(ways)((number + step) % len(BODIES))
                except aiohttp.ClientPayloadError:
                    seen["cut"] += 1
                except (aiohttp.ClientConnectionError, ConnectionResetError):
                    seen["reset"] += 1
                await asyncio.sleep(0.05)


async def change_faults(store: MemoryStore, s3: FaultyS3, stack: ExitStack, until_s: float) -> None:
    """A faulty server, no server, and a good one, in turn."""
    port = urlsplit(s3.url).port or 0
    while time.monotonic() < until_s - 15:
        s3.faults[:] = random.choices(FAULTS, k=100_000)
        await asyncio.sleep(8)
        s3.faults.clear()
        await asyncio.to_thread(stack.close)
        await asyncio.sleep(4)
        s3 = stack.enter_context(faulty_s3(store, port=port))
        await asyncio.sleep(8)


@pytest.mark.heavy
@pytest.mark.parametrize("with_tokens", [False, True], ids=["open", "with tokens"])
def test_whatever_the_bucket_does_no_byte_is_wrong_and_no_memory_leaks(with_tokens: bool) -> None:
    random.seed(5)
    store = MemoryStore()
    put_release(store, segments=BODIES)
    seen: Counter[str] = Counter()
    with ExitStack() as stack:
        s3 = stack.enter_context(faulty_s3(store))
        settings = {
            "AWS_ACCESS_KEY_ID": "AKIAMOTO000000000000",
            "AWS_SECRET_ACCESS_KEY": "a" * 40,
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "KEYS": PLAYBACK.line if with_tokens else "",
        }
        argv = [sys.executable, "-c", PROGRAM]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(**settings)) as child:
            try:
                assert child.stdout is not None
                url = child.stdout.readline().strip() or pytest.fail("the origin does not start")

                async def soak() -> list[int]:
                    start_s = time.monotonic()
                    until_s = start_s + SOAK_S
                    prefixes = [f"/t/{token(account=f'a-{n}')}" if with_tokens else "" for n in range(CLIENTS)]
                    players = [asyncio.create_task(play(url, prefix, seen, until_s)) for prefix in prefixes]
                    changing = asyncio.create_task(change_faults(store, s3, stack, until_s))
                    sizes = []
                    while time.monotonic() < until_s:
                        await asyncio.sleep(SOAK_S / 24)
                        sizes.append(memory_bytes(child.pid))
                    await asyncio.gather(changing, *players)
                    return sizes

                sizes = asyncio.run(soak())
                print(seen, [size >> 20 for size in sizes])
                descriptors = len(list(Path(f"/proc/{child.pid}/fd").iterdir()))
                figures = ask(url, "/metrics").body.decode()
                for number, body in enumerate(BODIES, 1):
                    prefix = f"/t/{token(account='last')}" if with_tokens else ""
                    assert ask(url, f"{prefix}{TRACKS}/{PICTURE}/{number}.m4s").body == body
            finally:
                child.terminate()
    assert child.returncode == 0
    wanted = ("segment 200", "range 206", "revalidation 304", "entry 200", "left", "segment 503", "cut")
    assert all(seen[name] for name in wanted), seen
    assert seen["segment 200"] > 2 * len(BODIES), seen  # the cache overflowed, so the memory figure is meaningful
    assert not [name for name in seen if name.split()[-1] not in ("200", "206", "304", "502", "503", "left", "cut")]
    assert 'headend_origin_store_reads_total{result="damaged"}' in figures
    third = len(sizes) // 3
    early, late = max(sizes[third : 2 * third]), max(sizes[2 * third :])
    assert late < early + (16 << 20), [size >> 20 for size in sizes]
    assert descriptors < 200
