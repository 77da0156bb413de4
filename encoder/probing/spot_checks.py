"""Spot checks: judge some keyframes of a picture, and find out where the verdict changes."""

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
"""Number of packets that are judged together: a keyframe and the packets after it."""
_BUDGET_PX = 600_000_000
"""Pixels to decode for the spot checks of a master: three times a hundred keyframes of 1080p, which takes a few
seconds."""
_MIN_CHECKS, _MAX_CHECKS = 12, 400
"""Limits of the number of spot checks of a master."""
_MAX_BUFFER_BYTES = 64 << 20
"""Size of the buffer for keyframes between two checks. If they don't fit, a change may be located too late."""
_UNKNOWN_LENGTH_S = 600
"""Assumed duration of a master whose duration is unknown."""

Judge = Callable[[Sequence[bytes]], Hashable]
"""Returns a verdict on a keyframe's packet and the packets after it; None if it can't decide."""
VerdictChange = tuple[int, Hashable]
"""A keyframe's number or presentation time, and the verdict from there on."""


@dataclass(slots=True)
class _Head:
    """A keyframe's packet and some packets after it."""

    pts_ticks: int
    packets: list[bytes] = field(default_factory=list)


def keyframe_count(picture: VideoStream) -> int:
    """Number of keyframes to check; fewer for larger pictures."""
    pixels = max(1, picture.codec_context.width * picture.codec_context.height)
    return min(_MAX_CHECKS, max(_MIN_CHECKS, _BUDGET_PX // (3 * pixels)))


def interval_ticks(container: InputContainer, picture: VideoStream) -> int:
    """Time between two checks of a picture that is read from start to end."""
    length = (picture.duration or 0) * time_base_of(picture) or Fraction(container.duration or 0, av.time_base)
    return max(1, int((length or _UNKNOWN_LENGTH_S) / keyframe_count(picture) / time_base_of(picture)))


def find_changes(numbers: Sequence[int], judge: Callable[[int], Hashable]) -> list[VerdictChange]:
    """Find the keyframes at which the verdict changes.

    Args:
        numbers: Numbers of the keyframes to check, ascending. If the verdicts on two neighbours differ, the change
            between them is located by bisection.
        judge: Judges a keyframe by its number.

    Returns:
        Number and verdict of the first keyframe, and of each at which the verdict changes.
    """
    changes: list[VerdictChange] = []
    previous = 0
    for number in numbers:
        verdict = judge(number)
        if verdict is not None and (not changes or changes[-1][1] != verdict):
            first = number
            if changes:
                between = range(previous + 1, number)
                first = previous + 1 + bisect_left(between, True, key=lambda other: judge(other) == verdict)
            changes.append((first, verdict))
        previous = number
    return changes


class SpotChecks:
    """Checks a picture while its packets are read.

    Args:
        judge: Judges keyframes.
        interval_ticks: Time between two checks.
    """

    def __init__(self, judge: Judge, interval_ticks: int) -> None:
        self._judge, self._interval_ticks = judge, interval_ticks
        self._next_ticks: int | None = None
        self._buffer: deque[_Head] = deque()
        self._buffer_bytes = 0
        self._collecting = False
        self._found: list[VerdictChange] = []

    def add(self, pts_ticks: int | None, keyframe: bool, packet: Callable[[], bytes]) -> None:
        """Process a packet.

        Args:
            pts_ticks: Its presentation time; None if unknown.
            keyframe: Whether it is a keyframe.
            packet: Returns its bytes.
        """
        if keyframe:
            self._check()
            self._collecting = pts_ticks is not None
            if pts_ticks is not None:
                self._buffer.append(_Head(pts_ticks))
        if self._collecting and len(self._buffer[-1].packets) < HEAD_PACKETS:
            data = packet()
            self._buffer[-1].packets.append(data)
            self._buffer_bytes += len(data)

    def changes(self) -> list[VerdictChange]:
        """Presentation time and verdict of the first keyframe, and of each at which the verdict changes."""
        self._next_ticks = None
        self._check()
        return self._found

    def _check(self) -> None:
        """If a check is due, judge the latest keyframe, and find the first keyframe with the same verdict."""
        while len(self._buffer) > 1 and self._buffer_bytes > _MAX_BUFFER_BYTES:
            self._buffer_bytes -= sum(map(len, self._buffer.popleft().packets))
        if not self._buffer or (self._next_ticks is not None and self._buffer[-1].pts_ticks < self._next_ticks):
            return
        heads = list(self._buffer)
        verdict = self._judge(heads[-1].packets)
        if verdict is not None and (not self._found or self._found[-1][1] != verdict):
            first = 0
            if self._found:
                first = bisect_left(heads[:-1], True, key=lambda head: self._judge(head.packets) == verdict)
            self._found.append((heads[first].pts_ticks, verdict))
        self._buffer.clear()
        self._buffer_bytes, self._collecting = 0, False
        self._next_ticks = heads[-1].pts_ticks + self._interval_ticks
