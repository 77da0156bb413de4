"""Restarts: times that begin again in mid-file, as where one transport stream was appended to another."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import MasterError
from headend.core.media import Master

BACK_S = Fraction(1, 20)
"""A keyframe is shown later than all that comes before it in the file; times that are damaged may go back a little."""
DECODED_BACK_S = Fraction(1, 5)
"""The same for keyframes whose presentation time is not stated: they are decoded before they are shown."""
WRAP_S = Fraction(1 << 33, 90_000)
"""Clocks of MPEG-2 begin again after 26.5 hours. FFmpeg takes a step back by more than half of that for such a wrap."""


@dataclass(frozen=True, slots=True)
class Shown:
    """When a packet of the picture is shown.

    Attributes:
        ticks: Its presentation time, or its decoding time if that is all that is known.
        keyframe: Whether it is a keyframe.
        stated: Whether ``ticks`` is its presentation time.
    """

    ticks: int
    keyframe: bool
    stated: bool = True


def check(master: Master, times: Iterable[Shown], time_base: Fraction) -> None:
    """Refuse a master whose times begin again.

    Frames are known by their times from here on. Two frames of one time would be sorted together, or dropped.

    Args:
        master: Named in the error.
        times: Of each packet of the picture, in the order of the file. Those that are no keyframes may be shown earlier
            than what comes before them.
        time_base: Seconds of a tick.

    Raises:
        MasterError: They do; the message says after how much of the film.
    """
    first = latest = None
    for number, shown in enumerate(times):
        if first is None or latest is None:
            first = latest = shown.ticks
        back_s, at_s = (latest - shown.ticks) * time_base, shown.ticks * time_base
        wrapped = -back_s > WRAP_S / 2
        at_s -= WRAP_S if wrapped else 0
        if wrapped or (shown.keyframe and back_s > (BACK_S if shown.stated else DECODED_BACK_S)):
            raise MasterError(
                f"{master.url}: times begin again {float((latest - first) * time_base):.3f} s after the start "
                f"(frame {number:,}), at {float(at_s):.3f} s; deliver each part by itself, or all on one "
                "timeline",
                packet=number,
            )
        latest = max(latest, shown.ticks)
