"""LRU and FIFO under independent requests, compared with their formulas."""

import json
from pathlib import Path

import numpy as np
import pytest

from cdn_sim import batch

POINTS = json.loads((Path(__file__).parent / "golden/che.json").read_text())["points"]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("alpha", sorted({point["alpha"] for point in POINTS}))
def test_hit_ratios_match_ches_formula(alpha: float) -> None:
    """Che, Tung, Wang 2002; Fricker, Robert, Roberts 2012."""
    rng = np.random.default_rng(11)
    objects = POINTS[0]["objects"]
    weights = np.arange(1, objects + 1) ** -alpha
    numbers = rng.choice(objects, 3_000_000, p=weights / weights.sum()).astype(np.int32)
    for point in (point for point in POINTS if point["alpha"] == alpha):
        for policy in ("lru", "fifo"):
            hits = batch.play(policy, numbers, np.ones(objects, dtype=np.int64), point["cache_objects"])
            assert hits[1_000_000:].mean() == pytest.approx(point[f"{policy}_formula"], abs=0.002)
