"""Fixtures of the encoder's tests."""

import pytest

from encoder import task_queue


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry failed tasks at once; the tests of the task queue check the real waits."""
    monkeypatch.setattr(task_queue, "BACKOFF_S", (0.1, 0.2))
