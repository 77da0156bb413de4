"""Edges, a shield and a real origin together: titles, tokens, plans, a killed edge, and the log of all decisions."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from cdn_sim.live.serving import EdgeSettings
from cdn_sim.live.serving import running as edge_running
from cdn_sim.request_logs.decisions import parse, verify
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings
from origin.serving import running as origin_running
from tests.cdn_sim.live.test_edge import get, metric
from tests.origin.grants import KEYS, STRANGE_KEYS, token
from tests.origin.releases import INIT, MULTIVARIANT, PICTURE, RELEASE, SEGMENTS, TITLE, put_release

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/2.m4s"


@pytest.fixture
def store() -> MemoryStore:
    memory_store = MemoryStore()
    put_release(memory_store)
    return memory_store


@pytest.fixture
def origin(store: MemoryStore) -> Iterator[str]:
    with origin_running(store) as url:
        yield url


def settings(origin: str, folder: Path, name: str) -> EdgeSettings:
    return EdgeSettings(origin, folder / name, 10_000_000, name=name, decisions=folder / f"{name}.log")


def test_a_title_plays_through_a_shield_and_an_edge_as_from_the_origin(origin: str, tmp_path: Path) -> None:
    with (
        edge_running(replace(settings(origin, tmp_path, "shield"), tier="shield")) as shield,
        edge_running(replace(settings(origin, tmp_path, "edge"), shield=shield)) as edge,
    ):
        for path, body in (
            (f"/{TITLE}/releases/{RELEASE}/multivariant.m3u8", MULTIVARIANT),
            (f"/{TITLE}/tracks/{PICTURE}/init.mp4", INIT),
            (SEGMENT, SEGMENTS[1]),
        ):
            there, here = get(origin + path), get(edge + path)
            assert here[:2] == there[:2] == (200, body)
            for name in ("ETag", "Content-Type", "Last-Modified", "Accept-Ranges"):
                assert here[2][name] == there[2][name], (path, name)
            assert get(edge + path, If_None_Match=there[2]["ETag"])[0] == 304
        assert get(f"{edge}/nothing/tracks/{PICTURE}/1.m4s")[0] == 404
        assert get(f"{edge}/{TITLE}/tracks/nothing/1.m4s")[0] == 404
        assert metric(shield, 'headend_edge_decisions_total{decision="miss",edge="shield",tier="shield"}') == 2


def test_tokens_and_plans_are_checked_at_the_edge(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with origin_running(store, settings=OriginSettings(keys=KEYS)) as origin:
        edge_settings = replace(
            settings(origin, tmp_path, "edge"), keys=KEYS, state_dir=tmp_path / "state", territory="DE"
        )
        with edge_running(edge_settings) as edge:
            good = token(session="one")
            for _ in range(2):
                assert get(f"{edge}/t/{good}{SEGMENT}")[:2] == (200, SEGMENTS[1])
            assert get(edge + SEGMENT)[0] == 403
            assert get(f"{edge}/t/{token(keys=STRANGE_KEYS)}{SEGMENT}")[0] == 403
            assert get(f"{edge}/t/{token(title='other')}{SEGMENT}")[0] == 403
            assert get(f"{edge}/t/{token(expires_s=1)}{SEGMENT}")[0] == 403
            assert get(f"{edge}/t/{token(session='one', max_height_px=720)}{SEGMENT}")[0] == 403
            assert get(f"{edge}/t/{token(session='one', territories=('FR',))}{SEGMENT}")[0] == 403
            assert get(f"{edge}/t/{token(session='one', territories=('DE',))}{SEGMENT}")[0] == 200
            assert get(f"{edge}/t/{token(session='two')}{SEGMENT}")[0] == 403, "the account has one screen"
            assert metric(edge, "headend_edge_denied_total") == 7


def test_a_log_of_faults_and_restarts_replays_without_a_difference(store: MemoryStore, tmp_path: Path) -> None:
    """Ten thousand requests over 32 connections, with a shield, faults, evictions and a restart."""
    put_release(store, title="long", segments=tuple(random.Random(n).randbytes(2000 + n) for n in range(60)))
    paths = [f"/long/tracks/{PICTURE}/{number}.m4s" for number in range(1, 61)]
    chance = random.Random(7)
    wanted = [paths[min(59, int(chance.expovariate(0.08)))] for _ in range(5_000)]

    async def play(edge: str) -> int:
        gate = asyncio.Semaphore(32)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:

            async def one(path: str) -> int:
                async with gate, session.get(edge + path) as answer:
                    await answer.read()
                    return answer.status

            statuses = await asyncio.gather(*map(one, wanted))
        return sum(status == 200 for status in statuses)

    with origin_running(store) as origin, ExitStack() as stack:
        shield = stack.enter_context(edge_running(replace(settings(origin, tmp_path, "shield"), tier="shield")))
        edge_settings = replace(settings(origin, tmp_path, "edge"), shield=shield, disk_bytes=40_000)
        good = 0
        for turn in range(2):
            with edge_running(edge_settings) as edge:
                good += asyncio.run(play(edge))
            if turn == 0:
                stack.pop_all().close()  # the shield is down for the second half
        assert good == 2 * len(wanted)
    assert edge_settings.decisions is not None
    with edge_settings.decisions.open() as lines:
        found = verify(parse(lines, "log"), "log")
    assert (found.different, found.starts) == (0, 2)
    assert found.requests >= 10_000 and found.delayed >= 0 and 0 < found.hits < found.requests
