"""``headend simulate`` from a scenario to its report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from prometheus_client.parser import text_string_to_metric_families

from cdn_sim import metric_names, parallel
from cdn_sim.accounting import Tally
from cdn_sim.parallel import Task
from headend.app.cli import run
from headend.core import layout, track_index
from headend.core.media import Segment
from headend.core.track_index import TrackFacts

pytestmark = pytest.mark.usefixtures("engine")

SMALL = """
name = "small"
summary = "Two providers < one evening."
seeds = [1, 2]
days = { counted = 1, warm_up = 1 }
[catalogue]
titles = 12
minutes = [5, 10]
[popularity]
releases_per_day = 1
[viewers]
sessions_per_day = 120
seeks_per_hour = 1
[edge]
disk = "4G"
gbps = 1
pinned = 0.5
[[isps]]
name = "north"
share = 0.5
edges = 2
shield = { disk = "6G" }
[[isps]]
name = "south"
share = 0.5
[[events]]
at = "day 2 20:00"
lost = { edge = "north/2", minutes = 30 }
[alternatives]
reactive = { edge.pinned = 0.0 }
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path / "small.toml"


def test_the_report_is_a_self_contained_page(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = small.parent / "out"
    legends: list[tuple[Any, Any]] = []

    def save(figure: Any, *args: Any, **options: Any) -> None:
        figure.draw_without_rendering()
        legends.extend((each.get_legend(), each) for each in figure.axes if each.get_legend())
        unchanged(figure, *args, **options)

    unchanged = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", save)
    assert run(["simulate", str(small), "--workers", "1", "--out", str(out)]) == 0
    assert len(legends) >= 7
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for legend, axes in legends)
    shown = capsys.readouterr().out
    assert "bytes from edges" in shown and "reactive" in shown
    page = (out / "report.html").read_text()
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")
    assert "Two providers &lt; one evening." in page
    assert page.count("<svg") >= 11
    report = json.loads((out / "report.json").read_text())
    assert list(report["alternatives"]) == ["as given", "reactive"]
    summary = report["alternatives"]["reactive"]["summary"]["byte_hit_ratio"]
    assert 0 < summary["mean"] < 1 and "difference_interval_95" in summary
    assert report["alternatives"]["as given"]["runs"][0]["isps"][0]["fill"][0]["arrived"] > 0
    families = {family.name for family in text_string_to_metric_families((out / "figures.prom").read_text())}
    assert families == {name.removesuffix("_total") for name in metric_names.HELP if name != metric_names.INFLIGHT}
    assert sorted(path.name for path in out.iterdir()) == ["figures.prom", "report.html", "report.json"]


def test_totals_of_the_exposition_are_those_of_the_report(small: Path) -> None:
    out = small.parent / "out"
    assert run(["simulate", str(small), "--workers", "1", "--out", str(out), "--only", "reactive", "--seed", "1"]) == 0
    report = json.loads((out / "report.json").read_text())
    isps = report["alternatives"]["reactive"]["runs"][0]["isps"]
    counted = sum(
        sum(each.values()) for isp in isps for name, each in isp["requests_by_decision"].items() if name != "shield"
    )
    families = text_string_to_metric_families((out / "figures.prom").read_text())
    samples = [sample for family in families for sample in family.samples if sample.name == metric_names.REQUESTS]
    assert sum(sample.value for sample in samples if sample.labels["tier"] == "edge") == counted


def test_the_report_does_not_depend_on_the_number_of_workers(small: Path) -> None:
    outs = []
    for workers in ("1", "2"):
        out = small.parent / f"out-{workers}"
        assert run(["simulate", str(small), "--workers", workers, "--out", str(out), "--only", "as given"]) == 0
        outs.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert outs[0] == outs[1]


def test_ctrl_c_keeps_complete_runs(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = parallel.run

    def stopped(todo: Any, **options: Any) -> Iterator[tuple[Task, Tally]]:
        yield from whole(todo[:3], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "run", stopped)
    out = small.parent / "out"
    assert run(["simulate", str(small), "--workers", "1", "--out", str(out)]) == 130
    assert f"stopped with 3 runs missing; complete runs are in {out}" in capsys.readouterr().err
    assert json.loads((out / "report.json").read_text())["runs_missing"] == 3
    assert "3 runs are missing from this report" in (out / "report.html").read_text()


def test_ctrl_c_before_anything_is_complete_writes_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any, **__: Any) -> Iterator[tuple[Task, Tally]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "run", stopped)
    assert run(["simulate", str(small), "--out", str(small.parent / "out")]) == 130
    assert not list((small.parent / "out").iterdir())
    assert "Ctrl-C" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere.toml"], "scenario nowhere.toml can't be read"),
        (["smoke", "--only", "nothing"], "there is no alternative 'nothing'; use one of as given, reactive"),
        (["smoke", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "give one of them"),
        (["smoke", "--out", "/proc/nothing"], "--out /proc/nothing can't be written"),
    ],
)
def test_usage_errors_are_reported_in_one_line(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *args]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_simulation_that_needs_too_much_memory_is_refused_in_one_line(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text(SMALL.replace("sessions_per_day = 120", "sessions_per_day = 1e9"))
    assert run(["simulate", str(small), "--workers", "2", "--out", str(small.parent / "out")]) == 2
    error = capsys.readouterr().err
    assert "viewers.sessions_per_day: 2 runs at once would take 400 GB or more" in error and error.count("\n") == 1


def test_an_unreachable_scheduler_is_reported_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["simulate", "smoke", "--scheduler", "nonsense://x", "--out", str(tmp_path)]) == 2
    assert "no Dask scheduler answers at nonsense://x" in capsys.readouterr().err


def test_a_scheduler_with_tls_needs_a_certificate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["simulate", "smoke", "--scheduler", "tls://127.0.0.1:1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "tls://127.0.0.1:1 needs a certificate" in error and error.count("\n") == 1


def test_show_prints_a_scenario_to_start_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["simulate", "metro", "--show"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert run(["simulate", str(tmp_path / "mine.toml"), "--show"]) == 0


def publish(store: Path, title: str, track: str, codec: str, sizes: list[int], kbps: int) -> None:
    segments = tuple(
        Segment(number + 1, number * 4000, 4000, 100, size, f"{number:064x}") for number, size in enumerate(sizes)
    )
    facts = TrackFacts(track, "video/mp4", codec, 1000, 700, "0" * 64, average_bps=kbps * 1000)
    path = store / layout.track_index(title, track)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(track_index.encode(track_index.index_of(facts, segments)))


def test_segment_sizes_come_from_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headend.app.cli import segment_sizes
    from headend.core.settings import StoreSettings

    sizes = [500_000 + 1000 * number for number in range(30)]
    publish(tmp_path / "store", "film", "avc-720p-1000k-aa", "avc1.64001f", sizes, 1000)
    publish(tmp_path / "store", "film", "avc-1080p-2000k-bb", "avc1.640028", [2 * size for size in sizes], 2000)
    publish(tmp_path / "store", "film", "aac-2.0-128k-en-cc", "mp4a.40.2", [64_000] * 30, 128)
    monkeypatch.setattr(segment_sizes.reading, "published_titles", lambda _: {"film": None})
    (stored,) = segment_sizes.stored_titles(StoreSettings(str(tmp_path / "store")))
    assert stored.segment_s == 4
    assert sorted((track.codec, track.kbps) for track in stored.tracks) == [
        ("avc", 1000),
        ("avc", 2000),
        ("sound", 128),
    ]
    scenario = SMALL.replace("[catalogue]", f'[catalogue]\nstore = "{tmp_path / "store"}"').replace(
        "seeds = [1, 2]", ""
    )
    (tmp_path / "mine.toml").write_text(scenario)
    out = tmp_path / "out"
    assert (
        run(["simulate", str(tmp_path / "mine.toml"), "--workers", "1", "--out", str(out), "--only", "reactive"]) == 0
    )
    isp = json.loads((out / "report.json").read_text())["alternatives"]["reactive"]["runs"][0]["isps"][0]
    assert isp["library_bytes"] == (12 + 2) * (3 * sum(sizes) + 30 * 64_000)


def test_a_store_without_releases_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "mine.toml").write_text(SMALL.replace("[catalogue]", f'[catalogue]\nstore = "{tmp_path / "store"}"'))
    assert run(["simulate", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "has no release; publish a title, or remove this key" in capsys.readouterr().err
