"""What packets of sound state about themselves, and lasting changes of it."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from headend.core.media import Change


@dataclass(slots=True)
class StatedFormats:
    """Records the formats that packets state, such as channels and sample rate, and finds changes.

    Attributes:
        runs: Runs of packets that state the same format: time of the first packet, format, number of packets.
        lasting_packets: Minimum length of a run that counts; shorter ones are damage.
    """

    runs: list[tuple[int, str, int]] = field(default_factory=list)
    lasting_packets: int = 3

    def record(self, pts_ticks: int, stated: str) -> None:
        """Record the format of a packet, in words; an empty one is ignored."""
        if not stated:
            return
        if self.runs and self.runs[-1][1] == stated:
            start, _, count = self.runs[-1]
            self.runs[-1] = (start, stated, count + 1)
        else:
            self.runs.append((pts_ticks, stated, 1))

    def changes(self, time_base: Fraction) -> tuple[Change, ...]:
        """The changes from one run that counts to the next."""
        lasting = [(start, stated) for start, stated, count in self.runs if count >= self.lasting_packets]
        return tuple(
            Change(start * time_base, before, after)
            for (_, before), (start, after) in pairwise(lasting)
            if before != after
        )
