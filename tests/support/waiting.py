"""Waiting for other processes and threads."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0
"""Default deadline in seconds; long, since machines may be slow and shared."""


def wait_until(condition: Callable[[], object], what: str = "it", *, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds; fail the test if that takes too long."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.05)
