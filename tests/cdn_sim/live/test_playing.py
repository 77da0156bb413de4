"""``headend simulate --live``: a slice of a scenario with real servers, shaped links and real HTTP clients."""

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import psutil
import pytest

from cdn_sim.live.shaping import Link
from headend.app.cli import run
from headend.core import documents, layout
from headend.core.manifests import hls
from headend.core.manifests.outline import ReleaseOutline
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from tests.origin.releases import PICTURE, RELEASE, SEGMENTS, SOUND, put_release
from tests.support.command_line import command, environment, headend_here
from tests.support.s3_servers import BUCKET, LocalS3

SCENARIO = """
name = "tiny"
summary = "One provider, two edges."
[catalogue]
titles = 2
[viewers]
sessions_per_day = 86_400
lengths = [{ share = 1.0, leaves = "at the end" }]
players = [{ share = 0.5, rule = "throughput", buffer_s = 20 }, { share = 0.5, rule = "bola-e", buffer_s = 20 }]
access = [{ share = 1.0, mbps = 20, rtt_ms = 5 }]
[edge]
disk = "100M"
gbps = 0.1
[[isps]]
name = "north"
edges = 2
transit = { gbps = 0.05, rtt_ms = 10 }
[[events]]
at = "day 1 20:00"
lost = { edge = "north/1", minutes = 0.1 }
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(SCENARIO)
    return tmp_path / "tiny.toml"


@pytest.fixture
def store(tmp_path: Path) -> str:
    folder = tmp_path / "store"
    folder.mkdir()
    fill(StoreSettings(str(folder)))
    return str(folder)


def fill(settings: StoreSettings) -> None:
    """Put a title into a store."""
    opened = open_store(settings)
    put_release(opened, title="film")
    outline = documents.read(ReleaseOutline, opened.get(layout.outline("film", RELEASE)), key="outline")
    opened.put(layout.multivariant("film", RELEASE), hls.multivariant(outline).encode())
    for track in (PICTURE, SOUND):
        lines = [f"#EXTINF:6,\n../../tracks/{track}/{number}.m4s" for number in range(1, len(SEGMENTS) + 1)]
        text = "\n".join(("#EXTM3U", "#EXT-X-TARGETDURATION:6", *lines, "#EXT-X-ENDLIST", ""))
        opened.put(layout.media_playlist("film", RELEASE, track), text.encode())


def test_a_slice_is_played_through_real_servers_and_reported_by_the_same_names(
    scenario: Path, rclone_s3: LocalS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, store = tmp_path / "out", StoreSettings(f"s3://{BUCKET}/played", rclone_s3.endpoint_url)
    fill(store)
    where = ("--store", store.url, "--s3-endpoint", rclone_s3.endpoint_url)
    assert run(["simulate", str(scenario), "--live", *where, "--seconds", "12", "--out", str(out)]) == 0
    assert "bytes from edges" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    figures = report["alternatives"]["as given"]["summary"]
    assert figures["sessions"]["mean"] > 5 and figures["requests"]["mean"] > 10
    assert 0.2 < figures["byte_hit_ratio"]["mean"] <= 1
    assert figures["failed_share"]["mean"] == 0 and figures["gave_up_share"]["mean"] == 0
    assert figures["start_ms"]["mean"] > 10 and figures["mean_kbps"]["mean"] > 0
    [isp] = report["alternatives"]["as given"]["runs"][0]["isps"]
    by_cache = isp["requests_by_decision"]
    missed = sum(by_cache[f"edge {number}"]["content miss"] for number in (1, 2))
    assert sum(by_cache["shield"].values()) == missed, "what edges miss, they ask the shield for"
    assert "headend_edge_requests_total" in (out / "figures.prom").read_text()
    assert "Played live from 20:00 for 12 s" in (out / "report.html").read_text()
    for log in (out / "decisions").iterdir():
        assert run(["replay", str(log), "--json"]) == 0 or log.stat().st_size < 200
    capsys.readouterr()


@pytest.mark.heavy
def test_ctrl_c_keeps_the_results_and_ends_all_children(scenario: Path, store: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = command("simulate", scenario, "--live", "--store", store, "--seconds", "600", "--out", out)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "viewers play" in line:
                break
        servers = psutil.Process(child.pid).children(recursive=True)
        assert len(servers) >= 4  # one edge is lost at that time
        child.send_signal(signal.SIGINT)
        output = child.stderr.read()
        assert child.wait(30) == 130
    assert "stopped early; the results until then are in" in output
    assert "Traceback" not in output
    assert json.loads((out / "report.json").read_text())["runs_missing"] == 1
    assert not any(server.is_running() for server in servers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--live",), "give --store URL"),
        (("--live", "--store", "{empty}"), "no title that can be played"),
        (("--live", "--store", "{empty}", "--workers", "2"), "at most once, and neither"),
        (("--live", "--store", "{empty}", "--seed", "1", "--seed", "2"), "at most once, and neither"),
    ],
)
def test_an_unplayable_scenario_is_reported_in_one_line(
    words: tuple[str, ...], message: str, scenario: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [word.format(empty=tmp_path / "empty") for word in words]
    found = headend_here("simulate", scenario, *filled, "--out", tmp_path / "out")
    assert found.returncode == 2, found.stderr
    errors = [line for line in found.stderr.splitlines() if line.startswith("headend: ")]
    assert len(errors) == 1 and message in errors[0], found.stderr


class _Sender(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "200000")
        self.end_headers()
        self.wfile.write(bytes(200_000))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sender) as http_server:
        threading.Thread(target=http_server.serve_forever, args=(0.02,), daemon=True).start()
        yield "127.0.0.1", http_server.server_port
        http_server.shutdown()


def test_a_link_carries_its_rate_whatever_the_number_of_connections(server: tuple[str, int]) -> None:
    async def measure() -> tuple[float, int, float]:
        link = Link(8_000_000, rtt_ms=100)  # 1 MB/s
        loop = asyncio.get_running_loop()
        async with link.proxy("127.0.0.1", 0, server) as url, aiohttp.ClientSession() as session:
            began_s = loop.time()

            async def get() -> float:
                async with session.get(url) as answer:
                    first_s = loop.time() - began_s
                    assert len(await answer.read()) == 200_000
                    return first_s

            firsts = await asyncio.gather(*(get() for _ in range(3)))
            return loop.time() - began_s, sum(link.carried.values()), min(firsts)

    took_s, carried, first_s = asyncio.run(measure())
    assert took_s > 0.9 * 0.6, "600 kB take 0.6 s at least"
    assert 600_000 <= carried < 610_000
    assert first_s >= 0.1, "a request and its answer take a round trip"


def test_a_cut_link_breaks_connections_until_it_is_restored(server: tuple[str, int]) -> None:
    async def play() -> list[str]:
        link = Link(800_000)
        output = []
        async with link.proxy("127.0.0.1", 0, server) as url, aiohttp.ClientSession() as session:

            async def get() -> str:
                try:
                    async with session.get(url) as answer:
                        return str(len(await answer.read()))
                except aiohttp.ClientError:
                    return "broken"

            first = asyncio.create_task(get())
            await asyncio.sleep(0.2)
            link.cut()
            output += [await first, await get()]
            link.restore()
            link.bps = 80_000_000
            output.append(await get())
        return output

    assert asyncio.run(play()) == ["broken", "broken", "200000"]
