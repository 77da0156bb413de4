"""Fixtures of the encoder's tests."""

import pytest

from encoder import board


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry failed tasks at once; the tests of the board check the real waits."""
    monkeypatch.setattr(board, "BACKOFF_S", (0.1, 0.2))
