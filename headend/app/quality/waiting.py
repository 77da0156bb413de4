"""Measuring tasks that wait for their chunks: each becomes ready when all renditions of its chunk are encoded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headend.core.media import Part, Receipt
from headend.core.media.quality import MeasureTask
from headend.core.timing import Chunk


@dataclass(slots=True)
class Waiting:
    """Measuring tasks that wait until their chunks are encoded.

    Attributes:
        tasks: Waiting tasks, by chunk number.
        missing: Renditions that are not encoded yet, by chunk number.
    """

    tasks: dict[int, tuple[MeasureTask, ...]]
    missing: dict[int, set[str]]

    def ready(self) -> tuple[MeasureTask, ...]:
        """Remove and return the tasks whose chunks are complete."""
        numbers = [number for number in self.tasks if not self.missing.get(number)]
        return tuple(task for number in numbers for task in self.tasks.pop(number))

    def follow(self, receipt: Any) -> Sequence[MeasureTask]:
        """Return the tasks that become ready by a finished task."""
        if not isinstance(receipt, Receipt):
            return ()
        lacking = self.missing.get(receipt.chunk)
        if lacking is not None:
            lacking.difference_update(track.rendition for track in receipt.tracks)
        return self.ready()


def wait_for_chunks(
    tasks: Iterable[MeasureTask], chunks: Sequence[Chunk], missing: Iterable[Part], video: Iterable[str]
) -> Waiting:
    """Make measuring tasks wait for their chunks.

    Args:
        tasks: The tasks; each is within one chunk.
        chunks: The title's chunks.
        missing: The parts that are not encoded yet.
        video: Ids of the video renditions.
    """
    renditions = set(video)
    by_chunk: dict[int, list[MeasureTask]] = {}
    for task in tasks:
        number = max(chunk.number for chunk in chunks if chunk.first_segment <= task.segments[0])
        by_chunk.setdefault(number, []).append(task)
    lacking: dict[int, set[str]] = {}
    for rendition, chunk in missing:
        if rendition in renditions:
            lacking.setdefault(chunk, set()).add(rendition)
    return Waiting({number: tuple(found) for number, found in by_chunk.items()}, lacking)
