"""Timelines of a master's streams: gaps, overlaps, drift, and parameter changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a stream without interruptions, in seconds of the master's clock.

    Attributes:
        start_s: Start of its first packet.
        end_s: End of its last packet.
    """

    start_s: Fraction
    end_s: Fraction


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a stream's parameters.

    Attributes:
        at_s: Its time on the master's clock.
        before: The parameters before it, for display.
        after: The parameters after it, for display.
    """

    at_s: Fraction
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The timeline of a sound stream, from its timestamps.

    Attributes:
        spans: Uninterrupted ranges, in file order. Each starts after the end of the previous one (a gap) or before it
            (an overlap).
        drift_s: Largest difference between the duration according to timestamps and according to the number of
            samples, gaps and overlaps aside. Negative if the timestamps give less; 0 if it is inaudible or unknown.
        changes: Changes of channels or sample rate.
    """

    spans: tuple[Span, ...]
    drift_s: Fraction = Fraction(0)
    changes: tuple[Change, ...] = ()

    @property
    def even(self) -> bool:
        """Whether counting samples gives the same times as the timestamps do."""
        return len(self.spans) < 2 and not self.drift_s

    def gaps(self) -> Iterator[Span]:
        """Ranges without sound."""
        return (Span(a.end_s, b.start_s) for a, b in pairwise(self.spans) if b.start_s > a.end_s)

    def overlaps(self) -> Iterator[Span]:
        """Ranges that the sound covers twice."""
        return (Span(b.start_s, a.end_s) for a, b in pairwise(self.spans) if b.start_s < a.end_s)
