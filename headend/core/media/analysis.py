"""Analyses of a title before it is encoded: the complexity of each GOP, and the results of trial encodes."""

from collections.abc import Iterable
from dataclasses import dataclass

from headend.core.media.kinds import Codec
from headend.core.media.plans import EncodeTask
from headend.core.media.quality import Viewing


@dataclass(frozen=True, slots=True)
class GopComplexity:
    """How a GOP of the grid came out of the quick encode of a survey.

    Attributes:
        frames: Its frames.
        size_bytes: Bytes of the quick encode: high where much moves, or where there is grain.
        black_frames: Frames that are black.
        frozen_frames: Frames that show the same as those before.
        cuts: Frames with which a shot begins, counted from the GOP's first one.
    """

    frames: int
    size_bytes: int
    black_frames: int = 0
    frozen_frames: int = 0
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Complexity:
    """What a survey has found in a chunk.

    Attributes:
        first_frame: Of the chunk, on the grid.
        gops: Its GOPs in order.
        cpu_s: CPU seconds that it took.
    """

    first_frame: int
    gops: tuple[GopComplexity, ...]
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A GOP that stands for others like it.

    Attributes:
        number: Place of the GOP on the grid, from 0.
        first_frame: Its first frame.
        end_frame: The first one behind it.
        size_bytes: Bytes of the quick encode.
        weight: How many GOPs it stands for, as a ratio to other excerpts' weights.
    """

    number: int
    first_frame: int
    end_frame: int
    size_bytes: int
    weight: float

    @property
    def frame_count(self) -> int:
        """Its frames."""
        return self.end_frame - self.first_frame


@dataclass(frozen=True, slots=True)
class Trial:
    """A size and a rate factor that are tried.

    Attributes:
        codec: A video codec.
        lines: Height of the box of the rung that it stands for.
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
    """What a trial encode of an excerpt came to.

    Attributes:
        excerpt: Number of the excerpt's GOP.
        trial: What was tried.
        size_bytes: Of the fragments, as they would be delivered.
        vmaf: Mean over the measured frames.
        vmaf_p5: What 5 % of the measured frames are below of.
        cpu_s: CPU seconds of encoding and measuring, its share of what its task took.
    """

    excerpt: int
    trial: Trial
    size_bytes: int
    vmaf: float
    vmaf_p5: float
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _AnalysisTask:
    """A command that is run to learn something of a master.

    Attributes:
        work: The command, and what it is expected to cost.
    """

    work: EncodeTask

    @property
    def id(self) -> str:
        """Digest of all that decides what is found."""
        return self.work.id

    @property
    def cost(self) -> float:
        """CPU seconds that it is expected to take."""
        return self.work.cost

    @property
    def memory_bytes(self) -> int:
        """Memory that is set aside for it."""
        return self.work.memory_bytes


@dataclass(frozen=True, slots=True)
class SurveyTask(_AnalysisTask):
    """A chunk to be surveyed.

    Attributes:
        gop_frames: Distance of sync frames.
        frames_per_s: Frames of the grid per second, for times that the tool tells.
    """

    gop_frames: int
    frames_per_s: float

    @property
    def label(self) -> str:
        """For people."""
        return f"survey of chunk {self.work.chunk.number}"


@dataclass(frozen=True, slots=True)
class TrialTask(_AnalysisTask):
    """An excerpt to be encoded in several ways, and to be compared with the master.

    Attributes:
        work: The command; its renditions are the ids of ``trials``.
        trials: What is tried; all of one codec and frame rate.
        keys: Of each, the digest of all that decides what it comes to.
        sizes_px: Width and height of each.
        bit_depth: Bits of their samples.
        rate_divisor: They keep one frame of the master in this many.
        viewing: The screen.
        shown_px: Width and height of the picture on it.
        every: From one measured frame to the next.
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
        """For people."""
        lines = ", ".join(dict.fromkeys(f"{trial.lines}p" for trial in self.trials))
        return f"trial of {self.trials[0].codec} {lines} at frame {self.work.chunk.first_frame}"


def whole(parts: Iterable[Complexity]) -> tuple[GopComplexity, ...]:
    """The GOPs of a title, from the surveys of its chunks."""
    return tuple(gop for part in sorted(parts, key=lambda part: part.first_frame) for gop in part.gops)
