import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import run_wrk
from benchmarks.origin import (
    HEADEND,
    NGINX,
    S3,
    S3_DISK,
    TWO,
    Report,
    Row,
    Starts,
    draw,
    nginx,
    targets,
)
from benchmarks.origin_titles import SEGMENTS, STALLED, publish
from benchmarks.servers import run_bare
from headend.core import layout
from headend.core.errors import ToolFailed
from headend.core.storage.local import LocalStore
from origin.serving import running
from tests.origin.releases import ask


def row(case: str, server: str, cpu_us: float) -> Row:
    return Row(case, server, cpu_us, (cpu_us,), 1000.0, 1.0, 2.0, 800_000.0)


STARTS = Starts(opened_s=0.9, empty_s=0.85, cpu_s=0.7)
ROWS = (
    *(row("segments", server, cost) for server, cost in ((NGINX, 100), (HEADEND, 130), (S3, 151), (S3_DISK, 120))),
    *(row(case, server, cost) for case in ("manifests", "304s") for server, cost in ((NGINX, 10), (HEADEND, 30))),
    row("cold segments", "cold", 1900),
    *(row("many clients", server, cost) for server, cost in ((HEADEND, 100), (HEADEND + TWO, 100))),
)


def test_targets_show_which_were_missed() -> None:
    all_of_it = Report("nginx/1.0", ROWS, {S3: 50_000_001, S3_DISK: 0}, 0.5, 100_000_000, STARTS)
    found = targets(all_of_it)
    assert [(target.value, target.met) for target in found[:3]] == [(1.3, True), (1.51, False), (1.2, True)]
    assert [target.met for target in found[3:5]] == [True, True]
    assert [target.met for target in found[-8:]] == [True, False, True, True, True, True, True, True]
    assert found[-1].value == pytest.approx(2.0)
    assert not targets(replace(all_of_it, largest_share=0.6))[-1].met


def test_values_that_were_not_measured_have_no_target() -> None:
    assert targets(Report("nginx/1.0")) == ()
    assert [each.met for each in targets(Report("nginx/1.0", starts=STARTS))] == [True, True, True]


def test_a_bare_server_on_aiohttp_answers() -> None:
    with run_bare() as server:
        assert ask(server.url, "/").status == 304
        assert sum(server.cpu_s().values()) > 0


def test_nginx_and_the_origin_serve_the_same_files_to_wrk(tmp_path: Path) -> None:
    if not shutil.which("nginx") or not shutil.which("wrk"):
        pytest.skip("nginx or wrk is not installed; Debian has them in nginx-light and wrk")
    root = tmp_path / "store"
    paths = publish(LocalStore(root), 0.03)
    assert (len(paths.segments), len(set(paths.stalled))) == (len(SEGMENTS), STALLED)
    with running(LocalStore(root)) as ours, nginx(root / layout.TITLES, tmp_path) as theirs:
        for path in (*paths.segments[:2], paths.stalled[-1], *paths.manifests):
            assert ask(ours, path).body == ask(theirs.url, path).body
        before = sum(theirs.cpu_s().values())
        load = run_wrk(theirs.url, paths.manifests, headers={}, connections=4, seconds=1, folder=tmp_path)
        assert load.requests > 0 and load.received_bytes > load.requests
        assert sum(theirs.cpu_s().values()) > before
        assert len(theirs.pids()) == 2 and theirs.memory_bytes() > 0
        with pytest.raises(ToolFailed, match="wrk failed, or got errors"):
            run_wrk(theirs.url, ["/nothing"], headers={}, connections=1, seconds=1, folder=tmp_path)


def test_the_result_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = Report("nginx/1.0", ROWS, {}, 0.5, 0, STARTS)
    draw(report, tmp_path / "origin.png")
    assert (tmp_path / "origin.png").read_bytes().startswith(b"\x89PNG")
