"""Read the results of a survey: a quick encode of a whole title that shows how hard each GOP is to encode.

`encoder.command.survey` builds its command.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from encoder.command import SCRATCH, SURVEY_FILE
from encoder.encoding import fill
from headend.core.errors import ChunkRejected
from headend.core.media.analysis import Complexity, GopComplexity
from headend.core.timing import Chunk

_BLACK = re.compile(r"black_start:\s*([\d.]+)\s+black_end:\s*([\d.]+)")
_FREEZE_START = re.compile(r"freeze_start:\s*([\d.]+)")
_FREEZE_END = re.compile(r"freeze_end:\s*([\d.]+)")
_CUT = re.compile(r"scd\.time:\s*([\d.]+)")


@dataclass(slots=True)
class Detections:
    """Results of FFmpeg's detectors during a survey, in seconds from the chunk's start.

    Source: FFmpeg's filters ``blackdetect``, ``freezedetect`` and ``scdet``.
    """

    black_s: list[tuple[float, float]] = field(default_factory=list)
    frozen_s: list[tuple[float, float]] = field(default_factory=list)
    cuts_s: list[float] = field(default_factory=list)
    _since_s: float | None = None

    def add_line(self, line: str) -> None:
        """Parse a line of standard error."""
        if found := _BLACK.search(line):
            self.black_s.append((float(found[1]), float(found[2])))
        elif found := _FREEZE_START.search(line):
            self._since_s = float(found[1])
        elif found := _FREEZE_END.search(line):
            self.frozen_s.append((self._since_s or 0.0, float(found[1])))
            self._since_s = None
        elif found := _CUT.search(line):
            self.cuts_s.append(float(found[1]))

    def frozen(self, end_s: float) -> list[tuple[float, float]]:
        """The times at which the picture is frozen; if the last one has not ended, it lasts until ``end_s``."""
        return self.frozen_s if self._since_s is None else [*self.frozen_s, (self._since_s, end_s)]


def packets_file(scratch: Path) -> Path:
    """The file to which a survey writes its list of packets."""
    return Path(fill(SURVEY_FILE, {SCRATCH: str(scratch)}))


def complexity(
    chunk: Chunk, packets: str, detections: Detections, *, gop_frames: int, frames_per_s: float, cpu_s: float
) -> Complexity:
    """Combine the results of a survey of a chunk.

    Args:
        chunk: The surveyed frames.
        packets: FFmpeg's ``framecrc`` list, in decoding order. The GOPs are in order, but not the frames within each.
        detections: Results of the detectors.
        gop_frames: Distance between sync frames.
        frames_per_s: Frame rate of the grid.
        cpu_s: CPU seconds of the survey.

    Raises:
        ChunkRejected: The number of frames in the list is not that of the chunk.
    """
    sizes = [int(line.split(",")[4]) for line in packets.splitlines() if line.strip() and not line.startswith("#")]
    if len(sizes) != chunk.frame_count:
        raise ChunkRejected(f"the survey of chunk {chunk.number} has {len(sizes)} frames, not {chunk.frame_count}")
    black = set(_frames(detections.black_s, frames_per_s, chunk.frame_count))
    frozen = set(_frames(detections.frozen(chunk.frame_count / frames_per_s), frames_per_s, chunk.frame_count))
    cuts = sorted({round(time_s * frames_per_s) for time_s in detections.cuts_s})
    gops = []
    for first in range(0, chunk.frame_count, gop_frames):
        end = min(first + gop_frames, chunk.frame_count)
        gops.append(
            GopComplexity(
                end - first,
                sum(sizes[first:end]),
                sum(frame in black for frame in range(first, end)),
                sum(frame in frozen for frame in range(first, end)),
                tuple(cut - first for cut in cuts if first <= cut < end),
            )
        )
    return Complexity(chunk.first_frame, tuple(gops), cpu_s)


def _frames(ranges_s: Iterable[tuple[float, float]], frames_per_s: float, count: int) -> Iterator[int]:
    for start_s, end_s in ranges_s:
        yield from range(max(0, round(start_s * frames_per_s)), min(count, round(end_s * frames_per_s)))
