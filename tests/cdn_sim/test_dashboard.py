import json
import re
from pathlib import Path

from cdn_sim import metric_names
from cdn_sim.outcomes import DECISIONS

DASHBOARD = Path(__file__).parents[2] / "docs/guides/dashboards/edges.json"


def test_the_dashboard_queries_only_metrics_that_exist() -> None:
    board = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = {found for each in expressions for found in re.findall(r"headend_\w+", each)}
    assert asked <= set(metric_names.HELP)
    assert set(metric_names.HELP) - asked == {metric_names.DISK_BYTES}
    decisions = {
        word for each in expressions for found in re.findall(r'decision=~?"([^"]+)"', each) for word in found.split("|")
    }
    assert decisions <= {name.replace(" ", "_") for name in DECISIONS}
