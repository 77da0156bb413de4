"""Restarts: times that begin again in mid-file, as where one transport stream was appended to another."""

from collections.abc import Iterable
from fractions import Fraction

from headend.core.errors import MasterError
from headend.core.media import Master

BACK_S = Fraction(1, 5)
"""A keyframe is shown later than all that comes before it in the file; times that are damaged may go back a little."""


def check(master: Master, times: Iterable[tuple[int | None, bool]], time_base: Fraction) -> None:
    """Refuse a master whose times begin again.

    Frames are known by their times from here on. Two frames of one time would be sorted together, or dropped.

    Args:
        master: Named in the error.
        times: Of each packet of the picture, in the order of the file: when it is shown, if that is known, and whether
            it is a keyframe. Others may be shown earlier than what comes before them.
        time_base: Seconds of a tick.

    Raises:
        MasterError: They do; the message says after how much of the film.
    """
    known = [(ticks, keyframe) for ticks, keyframe in times if ticks is not None]
    first = latest = known[0][0] if known else 0
    for number, (ticks, keyframe) in enumerate(known):
        if keyframe and (latest - ticks) * time_base > BACK_S:
            raise MasterError(
                f"{master.url}: times begin again {float((latest - first) * time_base):.3f} s after the start "
                f"(frame {number:,}), at {float(ticks * time_base):.3f} s; deliver each part by itself, or all on one "
                "timeline",
                packet=number,
            )
        latest = max(latest, ticks)
