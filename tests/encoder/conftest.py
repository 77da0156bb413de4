"""Fixtures of the encoder's tests."""

import pytest

from encoder import board


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that failed is tried again soon. How long it really waits is tested with the board."""
    monkeypatch.setattr(board, "BACKOFF_S", (0.1, 0.2))
