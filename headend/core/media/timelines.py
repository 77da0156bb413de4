"""Timelines of a master's streams: gaps, jumps, and parameters that change on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a stream whose packets follow each other without a break, in seconds of the master's clock.

    Attributes:
        start_s: When its first packet starts.
        end_s: When its last packet ends.
    """

    start_s: Fraction
    end_s: Fraction


@dataclass(frozen=True, slots=True)
class Change:
    """A place at which the parameters of a stream change.

    Attributes:
        at_s: When, by the master's clock.
        before: What they were, in words.
        after: What they are from there on.
    """

    at_s: Fraction
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """How the time of a stream of sound runs, by its time stamps.

    Attributes:
        spans: In the order of the file. Each starts after the one before ends (a gap) or before that (an overlap).
        drift_s: How much longer the stream is by its time stamps than by the number of its samples, gaps and overlaps
            aside, where that is most; negative where it is shorter, 0 where that is too little to hear or not known.
        changes: Where channels or sample rate change.
    """

    spans: tuple[Span, ...]
    drift_s: Fraction = Fraction(0)
    changes: tuple[Change, ...] = ()

    @property
    def even(self) -> bool:
        """Whether counting samples gives the same times as the time stamps."""
        return len(self.spans) < 2 and not self.drift_s

    def gaps(self) -> Iterator[Span]:
        """Stretches for which there is no sound."""
        return (Span(a.end_s, b.start_s) for a, b in pairwise(self.spans) if b.start_s > a.end_s)

    def overlaps(self) -> Iterator[Span]:
        """Stretches for which there is sound twice."""
        return (Span(b.start_s, a.end_s) for a, b in pairwise(self.spans) if b.start_s < a.end_s)
