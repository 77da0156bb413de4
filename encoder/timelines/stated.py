"""What packets of sound state about themselves, and lasting changes of it."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from headend.core.media import Change


@dataclass(slots=True)
class Stated:
    """The channels and sample rates that packets state.

    Attributes:
        runs: Runs of packets that state the same: first time, description, number of packets.
        lasting_packets: Shorter runs are damage.
    """

    runs: list[tuple[int, str, int]] = field(default_factory=list)
    lasting_packets: int = 3

    def say(self, pts_ticks: int, words: str) -> None:
        """Record the description of a packet; an empty one is ignored."""
        if not words:
            return
        if self.runs and self.runs[-1][1] == words:
            start, _, count = self.runs[-1]
            self.runs[-1] = (start, words, count + 1)
        else:
            self.runs.append((pts_ticks, words, 1))

    def changes(self, time_base: Fraction) -> tuple[Change, ...]:
        """The lasting changes."""
        lasting = [(start, words) for start, words, count in self.runs if count >= self.lasting_packets]
        return tuple(
            Change(start * time_base, before, after)
            for (_, before), (start, after) in pairwise(lasting)
            if before != after
        )
