"""Spot checks: judge some keyframes of a picture, and find the places where the verdict changes."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from encoder.probing.opening import time_base_of

HEAD_PACKETS = 4
"""Number of packets that are judged together: a keyframe and those after it."""
_BUDGET_PX = 600_000_000
"""Pixels to decode for the spot checks of a master: a hundred keyframes of 1080p three times, a few seconds."""
_FEWEST, _MOST = 12, 400
_HELD_BYTES = 64 << 20
"""Buffer for keyframes between two checks; if it is too small, a change is located too late."""
_UNKNOWN_LENGTH_S = 600

Judge = Callable[[Sequence[bytes]], Hashable]
"""Gives a verdict on a keyframe's packet and the packets after it; None if it is undecided."""
Turn = tuple[int, Hashable]
"""A keyframe's number or time, and the verdict from there on."""


@dataclass(slots=True)
class _Head:
    pts_ticks: int
    packets: list[bytes] = field(default_factory=list)


def how_many(picture: VideoStream) -> int:
    """Number of keyframes to check; fewer for larger pictures."""
    pixels = max(1, picture.codec_context.width * picture.codec_context.height)
    return min(_MOST, max(_FEWEST, _BUDGET_PX // (3 * pixels)))


def every_ticks(container: InputContainer, picture: VideoStream) -> int:
    """Interval between checks of a picture that is read from start to end."""
    length = (picture.duration or 0) * time_base_of(picture) or Fraction(container.duration or 0, av.time_base)
    return max(1, int((length or _UNKNOWN_LENGTH_S) / how_many(picture) / time_base_of(picture)))


def turns(numbers: Sequence[int], judge: Callable[[int], Hashable]) -> list[Turn]:
    """Find the keyframes at which the verdict changes.

    Args:
        numbers: Numbers of the keyframes to check, ascending; between two that differ, the change is located by
            bisection.
        judge: Judges a keyframe by its number.

    Returns:
        Number and verdict of the first keyframe, and of each at which the verdict changes.
    """
    changes: list[Turn] = []
    before = 0
    for number in numbers:
        verdict = judge(number)
        if verdict is not None and (not changes or changes[-1][1] != verdict):
            first = number
            if changes:
                first = (
                    before
                    + 1
                    + bisect_left(
                        range(before + 1, number),
                        True,
                        key=lambda one: judge(one) == verdict,
                    )
                )
            changes.append((first, verdict))
        before = number
    return changes


class SpotChecks:
    """Checks a picture while its packets are read.

    Args:
        judge: Gives a verdict.
        every_ticks: Interval between checks.
    """

    def __init__(self, judge: Judge, every_ticks: int) -> None:
        self._judge, self._every_ticks = judge, every_ticks
        self._next_ticks: int | None = None
        self._held: deque[_Head] = deque()
        self._held_bytes = 0
        self._open = False
        self._found: list[Turn] = []

    def add(self, pts_ticks: int | None, keyframe: bool, packet: Callable[[], bytes]) -> None:
        """Process a packet.

        Args:
            pts_ticks: Its presentation time; None if unknown.
            keyframe: Whether it is a keyframe.
            packet: Returns its bytes.
        """
        if keyframe:
            self._check()
            self._open = pts_ticks is not None
            if pts_ticks is not None:
                self._held.append(_Head(pts_ticks))
        if self._open and len(self._held[-1].packets) < HEAD_PACKETS:
            data = packet()
            self._held[-1].packets.append(data)
            self._held_bytes += len(data)

    def turns(self) -> list[Turn]:
        """Time and verdict of the first keyframe, and of each at which the verdict changes."""
        self._next_ticks = None
        self._check()
        return self._found

    def _check(self) -> None:
        """Judge the last keyframe if a check is due, and those before it if the verdict has changed."""
        while len(self._held) > 1 and self._held_bytes > _HELD_BYTES:
            self._held_bytes -= sum(map(len, self._held.popleft().packets))
        if not self._held or (self._next_ticks is not None and self._held[-1].pts_ticks < self._next_ticks):
            return
        heads = list(self._held)
        verdict = self._judge(heads[-1].packets)
        if verdict is not None and (not self._found or self._found[-1][1] != verdict):
            place = 0
            if self._found:
                place = bisect_left(heads[:-1], True, key=lambda head: self._judge(head.packets) == verdict)
            self._found.append((heads[place].pts_ticks, verdict))
        self._held.clear()
        self._held_bytes, self._open = 0, False
        self._next_ticks = heads[-1].pts_ticks + self._every_ticks
