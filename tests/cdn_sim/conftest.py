"""Compile kernels once per run: the first test process does it, the others wait and load the result."""

import numpy as np
import pytest

from cdn_sim import batch, simulation
from cdn_sim.kernels.state import NUMBERS
from cdn_sim.players.session import Network, watch
from tests.cdn_sim.makers import scenario
from tests.support.once import locked


@pytest.fixture(scope="session")
def kernels() -> None:
    """All batch kernels are compiled."""
    with locked("kernels"):
        for policy in NUMBERS:
            batch.play(policy, np.zeros(1, dtype=np.int32), np.ones(1, dtype=np.int64), 10)


@pytest.fixture(scope="session")
def engine(kernels: None) -> None:  # noqa: ARG001
    """The engine and the players are compiled."""
    with locked("kernels"):
        small = scenario(viewers__sessions_per_day=1, edge__pinned=0.5, days={"counted": 2})
        simulation.run(small, 0, 1)
        watch(0, Network(np.array([[1e6, 1e6, 1.0]])), np.ones((1, 1)), np.ones(1), 1000.0, 9000.0, may_abandon=False)
