"""Restarts: times that begin again in mid-file, as where one transport stream was appended to another."""

from collections.abc import Sequence
from fractions import Fraction

from headend.errors import MasterError
from headend.media import Master

BACK_S = Fraction(1, 5)
"""Times of decoding never go back in one timeline; damaged ones may, by some frames."""


def check(master: Master, order_ticks: Sequence[int | None], time_base: Fraction) -> None:
    """Refuse a master whose times begin again.

    Frames are known by their times from here on. Two frames of one time would be sorted together, or dropped.

    Args:
        master: Named in the error.
        order_ticks: When each packet of the picture is decoded, in the order of the file; None where that is not known.
        time_base: Seconds of a tick.

    Raises:
        MasterError: They do; the message says after how much of the film.
    """
    known = [ticks for ticks in order_ticks if ticks is not None]
    latest = known[0] if known else 0
    for number, ticks in enumerate(known):
        if (latest - ticks) * time_base > BACK_S:
            raise MasterError(
                f"{master.url}: times begin again {float((latest - known[0]) * time_base):.3f} s after the start "
                f"(frame {number:,}), at {float(ticks * time_base):.3f} s; deliver each part by itself, or all on one "
                "timeline",
                packet=number,
            )
        latest = max(latest, ticks)
