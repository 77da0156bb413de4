"""Planned fill of a live edge: window, rate, the pinned part, and its effect on viewers."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cdn_sim.fill_plans import views_by_day
from cdn_sim.live.filler import left_s, read_plan
from cdn_sim.live.serving import EdgeSettings
from cdn_sim.live.serving import running as edge_running
from cdn_sim.plans import FillItem, FillPlan
from cdn_sim.request_logs import reading
from cdn_sim.request_logs.decisions import Kind, parse, verify
from headend.core import documents
from headend.core.errors import ConfigError
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings
from origin.serving import running as real_origin
from tests.cdn_sim.live.faulty_origin import TRACK, FaultyOrigin, files, path_of, segment
from tests.cdn_sim.live.faulty_origin import running as origin_running
from tests.cdn_sim.live.test_edge import get, metric
from tests.origin.grants import KEYS
from tests.origin.releases import PICTURE, TITLE, put_release
from tests.support.waiting import wait_until

COUNT = 5
ALL = 1 + COUNT
"""Objects of a track: its segments and the init segment."""
OPEN = datetime.now().strftime("%H:%M")
LATER = (datetime.now() + timedelta(hours=2)).strftime("%H:%M")


@pytest.fixture
def origin() -> Iterator[FaultyOrigin]:
    with origin_running(FaultyOrigin(count=COUNT)) as faulty_origin:
        yield faulty_origin


def plan(folder: Path, *titles: str, **changes: object) -> Path:
    items = tuple(FillItem(title, TRACK, 300_000, 10.0 - at, "north/1") for at, title in enumerate(titles))
    fill_plan = replace(FillPlan("north/1", OPEN, 24.0, 10_000.0, 9_000_000, items, 0), **changes)  # type: ignore[arg-type]
    path = folder / "plan.json"
    path.write_bytes(documents.write(fill_plan))
    return path


def settings(origin: str, folder: Path, path: Path, **changes: object) -> EdgeSettings:
    edge_settings = EdgeSettings(origin, folder / "disk", 10_000_000, name="one", decisions=folder / "log", fill=path)
    return replace(edge_settings, **changes)  # type: ignore[arg-type]


def fetches(origin: FaultyOrigin, title: str) -> int:
    return sum(origin.asked[path_of(title, number)] for number in range(ALL))


def test_the_plan_is_fetched_once_and_stays_pinned(origin: FaultyOrigin, tmp_path: Path) -> None:
    edge_settings = settings(origin.url, tmp_path, plan(tmp_path, "film"), disk_bytes=700_000)
    edge_settings = replace(edge_settings, fill=plan(tmp_path, "film", budget_bytes=400_000))
    with edge_running(edge_settings) as url:
        wait_until(lambda: fetches(origin, "film") == ALL)
        wait_until(lambda: len(files(edge_settings.disk)) == ALL)
        for title in ("a", "b", "c"):
            for number in range(1, COUNT + 1):
                assert get(url + path_of(title, number))[0] == 200
        for number in range(1, COUNT + 1):
            assert get(url + path_of("film", number))[1] == segment("film", number)
        assert fetches(origin, "film") == ALL
        pinned = 800 + sum(len(segment("film", number)) for number in range(1, COUNT + 1))
        assert metric(url, "headend_edge_pinned_bytes") == pinned
        assert metric(url, 'headend_edge_fill_bytes_total{result="arrived"}') == pinned
        assert metric(url, "headend_edge_disk_bytes") <= 700_000
    with (tmp_path / "log").open() as lines:
        found = verify(parse(lines, "log"), "log")
    assert found.different == 0 and found.hits >= COUNT


def test_nothing_is_fetched_while_the_window_is_closed(origin: FaultyOrigin, tmp_path: Path) -> None:
    edge_settings = settings(origin.url, tmp_path, plan(tmp_path, "film", starts=LATER, hours=1.0))
    with edge_running(edge_settings) as url:
        time.sleep(0.5)
        assert get(url + path_of("other", 1))[0] == 200
    assert fetches(origin, "film") == 0


def test_fill_keeps_its_rate_and_lets_viewers_pass(origin: FaultyOrigin, tmp_path: Path) -> None:
    edge_settings = settings(
        origin.url, tmp_path, plan(tmp_path, "film", mbps=0.8)
    )  # 100 kB/s: three seconds for the track
    began_s = time.monotonic()
    with edge_running(edge_settings) as url:
        wait_until(lambda: fetches(origin, "film") >= 2)
        assert get(url + path_of("film", COUNT))[1] == segment("film", COUNT)
        assert time.monotonic() - began_s < 2.5, "a viewer does not wait for the rate of the fill"
        wait_until(lambda: len(files(edge_settings.disk)) == ALL)
    assert time.monotonic() - began_s > 1.5, "240 kB at 100 kB/s; the viewer brought the rest"
    assert fetches(origin, "film") == ALL


def test_a_restart_fetches_only_missing_objects_and_a_new_plan_replaces_the_old(
    origin: FaultyOrigin, tmp_path: Path
) -> None:
    edge_settings = settings(origin.url, tmp_path, plan(tmp_path, "film"))
    with edge_running(edge_settings):
        wait_until(lambda: len(files(edge_settings.disk)) == ALL)
    with edge_running(replace(edge_settings, fill=plan(tmp_path, "film", "other"))) as url:
        wait_until(lambda: len(files(edge_settings.disk)) == 2 * ALL)
        wait_until(lambda: metric(url, "headend_edge_pinned_bytes") > 600_000)
    assert (fetches(origin, "film"), fetches(origin, "other")) == (ALL, ALL)
    with (tmp_path / "log").open() as lines:
        records = list(parse(lines, "log"))
    assert sum(record.kind is Kind.PINNED for record in records) == 3 * ALL


def test_damaged_and_missing_objects_are_tried_again_and_never_pinned(origin: FaultyOrigin, tmp_path: Path) -> None:
    origin.damage = True
    edge_settings = settings(origin.url, tmp_path, plan(tmp_path, "film"))
    with edge_running(edge_settings) as url:
        wait_until(lambda: metric(url, "headend_edge_damaged_total") >= 1)
        assert metric(url, "headend_edge_pinned_bytes") == 0
        assert files(edge_settings.disk) == []


def test_an_edge_with_keys_can_fetch_protected_titles(tmp_path: Path) -> None:
    store = MemoryStore()
    put_release(store)
    (tmp_path / "state").mkdir()
    items = (FillItem(TITLE, PICTURE, 3000, 1.0, "north/1"),)
    path = tmp_path / "plan.json"
    path.write_bytes(documents.write(FillPlan("north/1", OPEN, 24.0, 1000.0, 9_000_000, items, 0)))
    with real_origin(store, settings=OriginSettings(keys=KEYS)) as url:
        edge_settings = settings(url, tmp_path, path, keys=KEYS, state_dir=tmp_path / "state")
        with edge_running(edge_settings):
            wait_until(lambda: len(files(edge_settings.disk)) == 4)


def test_an_edge_that_copies_asks_its_peers_first(origin: FaultyOrigin, tmp_path: Path) -> None:
    items = (FillItem("film", TRACK, 300_000, 1.0, "north/1"),)
    for number in (1, 2):
        fill_plan = FillPlan(f"north/{number}", OPEN, 24.0, 1000.0, 9_000_000, items, 0)
        (tmp_path / f"{number}.json").write_bytes(documents.write(fill_plan))
    first = EdgeSettings(origin.url, tmp_path / "1", 10_000_000, name="a", fill=tmp_path / "1.json")
    with edge_running(first) as url:
        wait_until(lambda: len(files(tmp_path / "1")) == ALL)
        second = EdgeSettings(
            origin.url, tmp_path / "2", 10_000_000, name="b", fill=tmp_path / "2.json",
            peers=(url,), itself="http://127.0.0.1:1",
        )  # fmt: skip
        with edge_running(second):
            wait_until(lambda: len(files(tmp_path / "2")) == ALL)
    assert fetches(origin, "film") == ALL


def test_a_plan_that_is_too_large_or_malformed_is_refused_in_one_line(origin: FaultyOrigin, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    for path in (
        tmp_path / "no.json",
        tmp_path / "missing.json",
        plan(tmp_path, "film", budget_bytes=20_000_000),
    ):
        with pytest.raises(ConfigError, match="--fill"), edge_running(settings(origin.url, tmp_path, path)):
            pass
    for changes in ({"starts": "26:00"}, {"hours": 0.0}, {"hours": 30.0}, {"mbps": -1.0}):
        with pytest.raises(ConfigError, match="--fill"):
            read_plan(plan(tmp_path, "film", **changes))


def test_a_fill_window_may_span_midnight() -> None:
    fill_plan = FillPlan("north/1", "22:30", 4.0, 1.0, 1, (), 0)
    day = datetime(2026, 11, 28)
    assert left_s(fill_plan, day.replace(hour=22, minute=29, second=59)) == 0
    assert left_s(fill_plan, day.replace(hour=22, minute=30)) == 4 * 3600
    assert left_s(fill_plan, day.replace(hour=0)) == 2.5 * 3600
    assert left_s(fill_plan, day.replace(hour=2, minute=30)) == 0
    assert left_s(replace(fill_plan, hours=24.0), day.replace(hour=12)) > 0


def test_plans_are_made_from_the_log_of_a_live_edge(origin: FaultyOrigin, tmp_path: Path) -> None:
    edge_settings = EdgeSettings(origin.url, tmp_path / "disk", 10_000_000, name="one", decisions=tmp_path / "log")
    with edge_running(edge_settings) as url:
        for number in (1, 2, 2):
            get(url + path_of("film", number))
    tracks, history, stored = views_by_day([reading.read(tmp_path / "log")])
    assert tracks == (("film", TRACK),)
    assert [row.tolist() for row in history] == [[3.0]]
    assert stored["film", TRACK].segments == 2
