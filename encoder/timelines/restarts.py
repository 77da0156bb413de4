"""Reject files whose times restart, such as a transport stream that was appended to another."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import MasterError
from headend.core.media import Master

TOLERANCE_S = Fraction(1, 20)
"""How far times may go back: a keyframe is shown after all earlier packets, but times may be slightly damaged."""
DECODED_TOLERANCE_S = Fraction(1, 5)
"""The same for keyframes without a presentation time: their decoding time is earlier than that."""
WRAP_S = Fraction(1 << 33, 90_000)
"""MPEG-2's clock wraps around after 26.5 hours. If times go back by more than half of that, FFmpeg adds this much."""


@dataclass(frozen=True, slots=True)
class PacketTime:
    """When a packet of the picture is shown.

    Attributes:
        ticks: Its presentation time, or its decoding time if that is all that is known.
        keyframe: Whether it is a keyframe.
        stated: Whether ``ticks`` is its presentation time.
    """

    ticks: int
    keyframe: bool
    stated: bool = True


def check(master: Master, times: Iterable[PacketTime], time_base: Fraction) -> None:
    """Reject a master whose times restart.

    Frames are identified by their times. Two frames with the same time would be mixed up or dropped.

    Args:
        master: Named in the error.
        times: The times of the packets of the picture, in the file's order. Only keyframes are checked, since other
            frames are reordered.
        time_base: Seconds of a tick.

    Raises:
        MasterError: The times restart; the message names the place.
    """
    first = latest = None
    for number, time in enumerate(times):
        if first is None or latest is None:
            first = latest = time.ticks
        back_s, at_s = (latest - time.ticks) * time_base, time.ticks * time_base
        wrapped = -back_s > WRAP_S / 2
        at_s -= WRAP_S if wrapped else 0
        if wrapped or (time.keyframe and back_s > (TOLERANCE_S if time.stated else DECODED_TOLERANCE_S)):
            raise MasterError(
                f"{master.url}: times begin again {float((latest - first) * time_base):.3f} s after the start "
                f"(frame {number:,}), at {float(at_s):.3f} s; deliver each part by itself, or all on one "
                "timeline",
                packet=number,
            )
        latest = max(latest, time.ticks)
