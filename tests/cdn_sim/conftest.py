"""Compile kernels once per machine: the first test process does it, the others wait and load the result."""

import fcntl
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cdn_sim import batch
from cdn_sim.kernels.state import NUMBERS


@pytest.fixture(scope="session")
def kernels() -> None:
    """All batch kernels are compiled."""
    with (Path(tempfile.gettempdir()) / "headend-kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for policy in NUMBERS:
            batch.play(policy, np.zeros(1, dtype=np.int32), np.ones(1, dtype=np.int64), 10)
