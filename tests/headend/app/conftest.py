"""What commands that encode find on a machine where one has run before."""

import pytest

from encoder import speed
from tests.support.once import locked


@pytest.fixture(scope="session")
def known_speed() -> None:
    """The speed of this machine is measured, so that no command reports that it measures it."""
    with locked("speed"):
        speed.calibration()
