"""Data types of the analysis of a title before it is encoded: complexity of GOPs, and results of trial encodes."""

from collections.abc import Iterable
from dataclasses import dataclass

from headend.core.media.kinds import Codec
from headend.core.media.plans import EncodeTask
from headend.core.media.quality import Viewing


@dataclass(frozen=True, slots=True)
class GopComplexity:
    """The result of a survey's quick encode for one GOP.

    Attributes:
        frames: Its number of frames.
        size_bytes: Size of the quick encode: large if there is much motion or grain.
        black_frames: Number of black frames.
        frozen_frames: Number of frames that repeat the previous one.
        cuts: First frames of shots, counted from the GOP's first frame.
    """

    frames: int
    size_bytes: int
    black_frames: int = 0
    frozen_frames: int = 0
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Complexity:
    """The result of a survey of one chunk.

    Attributes:
        first_frame: The chunk's first frame on the grid.
        gops: Its GOPs in order.
        cpu_s: CPU seconds of the survey.
    """

    first_frame: int
    gops: tuple[GopComplexity, ...]
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A GOP that represents similar ones.

    Attributes:
        number: Index of the GOP on the grid, from 0.
        first_frame: Its first frame.
        end_frame: The frame after its last.
        size_bytes: Size of the quick encode.
        weight: How many GOPs it represents, relative to other excerpts' weights.
    """

    number: int
    first_frame: int
    end_frame: int
    size_bytes: int
    weight: float

    @property
    def frame_count(self) -> int:
        """Its number of frames."""
        return self.end_frame - self.first_frame


@dataclass(frozen=True, slots=True)
class Trial:
    """The size and rate factor of a trial encode.

    Attributes:
        codec: A video codec.
        lines: Height of the box of the rung that it represents.
        crf: Constant rate factor.
    """

    codec: Codec
    lines: int
    crf: float

    @property
    def id(self) -> str:
        """Such as ``avc-1080p-crf28``."""
        return f"{self.codec}-{self.lines}p-crf{self.crf:g}"


@dataclass(frozen=True, slots=True)
class TrialScore:
    """The result of a trial encode of an excerpt.

    Attributes:
        excerpt: Number of the excerpt's GOP.
        trial: The trial's parameters.
        size_bytes: Size of the fragments as delivered.
        vmaf: Mean over the measured frames.
        vmaf_p5: 5th percentile over the measured frames.
        cpu_s: CPU seconds of encoding and measuring: its share of the task's.
    """

    excerpt: int
    trial: Trial
    size_bytes: int
    vmaf: float
    vmaf_p5: float
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _AnalysisTask:
    """A command that analyses a part of a master.

    Attributes:
        work: The command and its expected cost.
    """

    work: EncodeTask

    @property
    def id(self) -> str:
        """Digest of everything that determines the result."""
        return self.work.id

    @property
    def cost(self) -> float:
        """Expected CPU seconds."""
        return self.work.cost

    @property
    def memory_bytes(self) -> int:
        """Memory reserved for it."""
        return self.work.memory_bytes


@dataclass(frozen=True, slots=True)
class SurveyTask(_AnalysisTask):
    """A chunk to be surveyed.

    Attributes:
        gop_frames: Distance of sync frames.
        frames_per_s: Frame rate of the grid, to convert times in the tool's output.
    """

    gop_frames: int
    frames_per_s: float

    @property
    def label(self) -> str:
        """Its label for display."""
        return f"survey of chunk {self.work.chunk.number}"


@dataclass(frozen=True, slots=True)
class TrialTask(_AnalysisTask):
    """Trial encodes of one excerpt, and their comparison with the master.

    Attributes:
        work: The command; its renditions are the ids of ``trials``.
        trials: The trials; all have the same codec and frame rate.
        keys: For each trial, the digest of everything that determines its result.
        sizes_px: Width and height of each.
        bit_depth: Bit depth of their samples.
        rate_divisor: They keep one frame of the master in this many.
        viewing: The screen.
        shown_px: Width and height of the picture on the screen.
        every: Interval of measured frames, in frames.
    """

    trials: tuple[Trial, ...]
    keys: tuple[str, ...]
    sizes_px: tuple[tuple[int, int], ...]
    bit_depth: int
    rate_divisor: int
    viewing: Viewing
    shown_px: tuple[int, int]
    every: int

    @property
    def label(self) -> str:
        """Its label for display."""
        lines = ", ".join(dict.fromkeys(f"{trial.lines}p" for trial in self.trials))
        return f"trial of {self.trials[0].codec} {lines} at frame {self.work.chunk.first_frame}"


def whole(parts: Iterable[Complexity]) -> tuple[GopComplexity, ...]:
    """The GOPs of a title, in order, from the surveys of its chunks."""
    return tuple(gop for part in sorted(parts, key=lambda part: part.first_frame) for gop in part.gops)
