import io
import json
from pathlib import Path

import numpy as np
import pytest

from cdn_sim.fill_plans import views_by_day
from cdn_sim.plans import FillPlan
from cdn_sim.policies import make
from cdn_sim.request_logs.decisions import DecisionLog
from cdn_sim.request_logs.reading import Requests
from cdn_sim.topology import rendezvous
from headend.app.cli import run
from headend.core import documents
from tests.cdn_sim.test_simulate import publish

EDGES = """
name = "site"
[viewers]
sessions_per_day = 100
[edge]
disk = "20M"
pinned = 0.5
[[isps]]
name = "north"
edges = 2
"""
DAY_MS = 86_400_000


def decision_log(days: list[dict[str, int]], *, segments: int = 10, size: int = 100_000) -> str:
    """Make a decision log from the number of complete views of each title on each day."""
    stream = io.StringIO()
    written, policy = DecisionLog(stream), make("lru", 10**9)
    written.start(0, "lru", 10**9)
    for day, views in enumerate(days):
        for title, count in views.items():
            for _ in range(count):
                for segment in range(1, segments + 1):
                    key = f"titles/{title}/tracks/avc-720p-1000k-{title}/{segment}.m4s"
                    written.request(day * DAY_MS, key, size, policy.request(key, size))
    return stream.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text(EDGES)
    return tmp_path


def plans(site: Path, days: list[dict[str, int]], *args: str) -> dict[str, FillPlan]:
    (site / "edge.decisions").write_text(decision_log(days))
    (site / "idle.decisions").write_text(decision_log([]))  # an edge that had no viewers
    out = site / "plans"
    logs = [str(site / "edge.decisions"), str(site / "idle.decisions")]
    assert run(["fill", "plan", *logs, "--edges", str(site / "site.toml"), "--out", str(out), *args]) == 0
    found = [documents.read(FillPlan, path.read_bytes()) for path in sorted(out.iterdir())]
    return {plan.edge: plan for plan in found}


def test_each_edge_gets_its_own_titles_the_most_wanted_first(site: Path) -> None:
    days = [{f"t{number}": number + 1 for number in range(8)}]
    found = plans(site, days)
    assert list(found) == ["north/1", "north/2"]
    for edge, plan in found.items():
        assert plan.budget_bytes == 10_000_000
        assert all(rendezvous(item.title, ["north/1", "north/2"])[0] == edge == item.pulled_by for item in plan.items)
        assert [item.worth for item in plan.items] == sorted((item.worth for item in plan.items), reverse=True)
    assert sum(len(plan.items) for plan in found.values()) == 8


def test_recent_views_count_more_than_older_ones(site: Path) -> None:
    (site / "site.toml").write_text(EDGES.replace("edges = 2", "edges = 1").replace("20M", "2M"))
    found = plans(site, [{"old": 5, "new": 1}, {"old": 1, "new": 9}])
    assert [item.title for item in found["north/1"].items] == ["new"]


def test_an_expected_release_is_planned_with_its_sizes_in_the_store(site: Path) -> None:
    publish(site / "store", "premiere", "avc-720p-1000k-zz", "avc1.64001f", [90_000] * 12, 1000)
    found = plans(site, [{"film": 3}], "--store", str(site / "store"), "--expect", "premiere=500")
    items = [item for plan in found.values() for item in plan.items]
    assert {item.title for item in items} == {"film", "premiere"}
    premiere = next(item for item in items if item.title == "premiere")
    assert (premiere.bytes, premiere.worth) == (12 * 90_000 + 700, 500)


def test_a_plan_reports_the_bytes_that_arrive_after_the_fill_window(site: Path) -> None:
    slow = EDGES.replace("pinned = 0.5", "pinned = 0.5\nfill = { mbps = 0.001, hours = 1 }")
    (site / "site.toml").write_text(slow)
    found = plans(site, [{"film": 3}])
    assert sum(plan.late_bytes for plan in found.values()) > 0


@pytest.mark.parametrize(
    ("args", "edges", "text", "message"),
    [
        ([], EDGES, "time,key,size\n1,/other,5\n", "these logs have no request for a segment"),
        ([], EDGES.replace("pinned = 0.5", "pinned = 0"), None, "edge.pinned is 0"),
        (["--expect", "nowhere=5"], EDGES, None, "--expect nowhere: the title has no track"),
        (["--expect", "film"], EDGES, None, "'film' is not a title with its expected views"),
    ],
)
def test_usage_errors_are_reported_in_one_line(
    site: Path, args: list[str], edges: str, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "site.toml").write_text(edges)
    (site / "log").write_text(text or decision_log([{"film": 1}]))
    command = [
        "fill",
        "plan",
        str(site / "log"),
        "--edges",
        str(site / "site.toml"),
        "--out",
        str(site / "plans"),
        *args,
    ]
    assert run(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_json_lists_the_plans_by_edge(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans(site, [{"film": 1}], "--json")
    assert [plan["edge"] for plan in json.loads(capsys.readouterr().out)["plans"]] == ["north/1", "north/2"]


def test_requests_with_a_wrong_clock_do_not_make_a_history_of_decades() -> None:
    year = 365 * DAY_MS
    times_ms = [0, 50 * year, 50 * year, 50 * year + DAY_MS, 5_000_000 * year]
    requests = Requests(
        numbers=np.zeros(len(times_ms), dtype=np.int32),
        sizes=np.array([100]),
        times_ms=np.array(times_ms),
        keys=("/film/tracks/avc-720p-1000k-film/1.m4s",),
        format="access log",
    )
    _, history, _ = views_by_day([requests])
    assert [row.tolist() for row in history] == [[2.0], [1.0]]
