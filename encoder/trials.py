"""Plan trial encodes of a title: sizes, rate factors, commands and costs. Pure.

A trial uses the title's effort and options, without a binding cap, and is compared with the master's picture, which the
same command stores losslessly. Results are interpolated between rate factors, but never between sizes.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from encoder import measuring, seeking
from encoder.command import REFERENCE, VideoCommands, survey
from encoder.conforming import Conformed
from encoder.costs import SAFE, Pricing
from encoder.picture.colour import bit_depth_of
from headend.core.codecs import VIDEO
from headend.core.media import Codec, EncodeTask, Kind, ReadRange, VideoRendition
from headend.core.media.analysis import Excerpt, SurveyTask, Trial, TrialTask
from headend.core.media.quality import Viewing
from headend.core.timing import Chunk, Grid

CRFS = {codec.codec: codec.trial_crfs for codec in VIDEO}
"""Rate factors of the trials of a size: the coarser ones always, the finest only if rungs may need it."""
STEEP = 3.3
"""If the rates of two neighbours differ by more than this factor, one between them is tried as well."""
FINER = 4.0
"""Step to a finer rate factor if the finest trial of a size is not good enough."""
FINEST = {codec.codec: codec.finest_crf for codec in VIDEO}
"""The finest rate factor of a trial; no rung has a finer one."""
WORTH_VMAF = 2.0
"""Minimum gain of VMAF by doubling the rate for a finer trial."""
COARSER = {codec.codec: codec.coarsest_trial_crf for codec in VIDEO}
"""Rate factor of a coarser trial, if lower rungs need it."""
MAX_MEGAPIXELS = 4.2
"""Maximum pixels of all encoders of a task, in millions: as much memory as two encoders of 1080 lines."""
MEASURE_MB = 190
"""Megabytes for each rendition that is measured at the same time on a screen of 1080 lines."""
MEASURE_START_MB = 150
MEASURE_FRAME_S = {1: 0.0277, 3: 0.0145, 5: 0.0124, 7: 0.0115}
"""CPU seconds to measure a frame of one rendition on that screen, by the distance of measured frames."""
SURVEY_FRAME_S = 0.0027
"""CPU seconds to encode a frame of 360 lines quickly and to run the detectors, without decoding it."""
LOSSLESS_S = 0.004
"""CPU seconds to write and read a million pixels losslessly."""
BOUNDED = frozenset(codec.codec for codec in VIDEO if codec.bound_shapes_quality)
"""Codecs whose trials have a cap, because it affects the quality."""
BOUND = 6.0
"""Ratio of a trial's cap to its expected rate. Rates are up to 4 times as high as expected, and a cap of less than 1.5
times the rate lowers it; caps far above change it by a few per cent."""
MIN_BOUND_BPS = 50_000
EXPECTED_AT_CRF, EXPECTED_OF_SURVEY, CRF_PER_HALVING, AREA_EXPONENT = 36.0, 0.85, 12.0, 0.75
"""The expected rate of a trial: at this rate factor and in the survey's size, this share of the survey's rate; the next
numbers scale it by rate factor and by area."""
FEW_FRAMES = 200
"""In titles with at most this many frames, all frames are scored: a sample would be too small."""
FORMAT = 1
"""Part of the identity of all results. Increment it if results of the same commands are read or scored differently."""
_SCREEN = 1920 * 1080
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class TrialSize:
    """A size to try.

    Attributes:
        lines: Height of the box of its rung.
        rendition: The rung applied to the title; its rate factor does not matter.
    """

    lines: int
    rendition: VideoRendition


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trial of an excerpt."""

    excerpt: Excerpt
    trial: Trial


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial with the rate and the VMAF that it predicts for the whole title."""

    trial: Trial
    kbps: float
    vmaf: float


def first_trials(sizes: Iterable[TrialSize]) -> tuple[Trial, ...]:
    """The first trials: each size with all rate factors of its codec but the finest."""
    return tuple(trial for trial in expected_trials(sizes) if trial.crf > CRFS[trial.codec][0])


def expected_trials(sizes: Iterable[TrialSize]) -> tuple[Trial, ...]:
    """The trials of most titles, to estimate costs: each size with all rate factors of its codec."""
    return tuple(Trial(size.rendition.codec, size.lines, crf) for size in sizes for crf in CRFS[size.rendition.codec])


def further_trials(
    points: Sequence[TrialResult], *, top_vmaf: float, ranges_kbps: Mapping[Codec, tuple[float, float]]
) -> tuple[Trial, ...]:
    """The next trials, if the rate factors so far are not enough.

    Args:
        points: Results of the trials so far.
        top_vmaf: VMAF that is good enough.
        ranges_kbps: By codec, the rate of the lowest rung, and the maximum rate of rungs.
    """
    known = {point.trial for point in points}
    return tuple(t for t in dict.fromkeys(_further(points, top_vmaf, ranges_kbps)) if t not in known)


def _further(
    points: Sequence[TrialResult], top_vmaf: float, ranges_kbps: Mapping[Codec, tuple[float, float]]
) -> Iterator[Trial]:
    by_size: dict[tuple[Codec, int], list[TrialResult]] = {}
    for point in points:
        by_size.setdefault((point.trial.codec, point.trial.lines), []).append(point)
    for (codec, lines), found in by_size.items():
        lowest_kbps, highest_kbps = ranges_kbps.get(codec, (0.0, math.inf))
        found.sort(key=lambda point: point.trial.crf)
        for finer, coarser in pairwise(found):
            if finer.kbps > STEEP * coarser.kbps and coarser.kbps < highest_kbps:
                yield Trial(codec, lines, float(round((finer.trial.crf + coarser.trial.crf) / 2)))
        finest = found[0]
        next_crf = CRFS[codec][0] if finest.trial.crf > CRFS[codec][0] else finest.trial.crf - FINER
        crf = max(FINEST[codec], next_crf)
        rivals = [p for p in points if p.trial.codec is codec and p.trial.lines != lines and p.kbps <= finest.kbps]
        beaten = any(rival.vmaf >= finest.vmaf for rival in rivals)
        wanting = finest.vmaf < top_vmaf and finest.kbps < highest_kbps
        if wanting and not beaten and crf < finest.trial.crf and _per_doubling(found) >= WORTH_VMAF:
            yield Trial(codec, lines, crf)
        coarsest = found[-1]
        smaller = [others for (other, height), others in by_size.items() if other is codec and height < lines]
        if coarsest.kbps > lowest_kbps and not any(_reaches(smaller_size, coarsest) for smaller_size in smaller):
            # For the smallest size, and for larger ones that still look best at this rate, as text and drawings do.
            yield Trial(codec, lines, COARSER[codec])


def _reaches(found: Sequence[TrialResult], other: TrialResult) -> bool:
    """Whether a size looks as good as a trial of another one, at its rate."""
    points = sorted(found, key=lambda point: point.kbps)
    if other.kbps < points[0].kbps:
        return False
    for low, high in pairwise(points):
        if 0 < low.kbps <= other.kbps < high.kbps:
            share = math.log2(other.kbps / low.kbps) / math.log2(high.kbps / low.kbps)
            return low.vmaf + share * (high.vmaf - low.vmaf) >= other.vmaf
    return points[-1].vmaf >= other.vmaf


def _per_doubling(found: Sequence[TrialResult]) -> float:
    """VMAF that a doubling of the rate gains between the two finest trials."""
    finest, next_ = found[0], found[1]
    doublings = math.log2(finest.kbps / next_.kbps) if finest.kbps > next_.kbps else 0.0
    return (finest.vmaf - next_.vmaf) / doublings if doublings > 0 else 0.0


class Analysing:
    """Makes the tasks of an analysis.

    Args:
        commands: Builds the title's commands, at its effort.
        conformed: The master's picture on the grid.
        grid: The title's grid.
        pricing: The cost of encodes. It must not use a store's calibration, or a resumed analysis would choose other
            excerpts.
        viewing: The screen.
        shown_px: Width and height of the picture on the screen.
        size_px: Width and height of the master's picture, upright and with square pixels.
        master_digest: Digest of the master.
        tool_digest: Digest of FFmpeg's executable.
    """

    def __init__(
        self,
        commands: VideoCommands,
        conformed: Conformed,
        grid: Grid,
        pricing: Pricing,
        *,
        viewing: Viewing,
        shown_px: tuple[int, int],
        size_px: tuple[int, int],
        master_digest: str,
        tool_digest: str,
    ) -> None:
        self._commands, self._conformed, self._grid, self._pricing = commands, conformed, grid, pricing
        self._viewing, self._shown_px, self._size_px = viewing, shown_px, size_px
        self._shared = {"format": FORMAT, "master": master_digest, "tool": tool_digest}

    # --- survey ---

    def surveys(self, chunks: Sequence[Chunk]) -> tuple[SurveyTask, ...]:
        """A task for each chunk."""
        return tuple(self._survey(chunk) for chunk in chunks)

    def _survey(self, chunk: Chunk) -> SurveyTask:
        argv = self._commands.survey(chunk)
        work = EncodeTask(
            id=self._digest({"frames": [chunk.first_frame, chunk.end_frame], "argv": argv[argv.index("-i") + 2 :]}),
            kind=Kind.VIDEO,
            chunk=chunk,
            renditions=(),
            argv=argv,
            cost=self.survey_s(chunk.frame_count) + self._lead_s(chunk),
            memory_bytes=self._pricing.video_bytes(()),
            reads=(self._read_range(chunk),),
        )
        return SurveyTask(work, self._grid.gop_frames, float(self._grid.frame_rate))

    def survey_s(self, frames: int) -> float:
        """CPU seconds to survey this many frames."""
        return self._pricing.video_s((), frames) + frames * SURVEY_FRAME_S

    # --- trials ---

    def keys(
        self, excerpts: Iterable[Excerpt], trials: Sequence[Trial], sizes: Sequence[TrialSize]
    ) -> dict[str, Wanted]:
        """Trials of excerpts by the digest of everything that determines the result.

        Other trials of the same task and the location of the master are not part of it.
        """
        known = _by_place(sizes)
        by_key: dict[str, Wanted] = {}
        for excerpt in excerpts:
            for trial in trials:
                rendition = _without_cap(known[trial.codec, trial.lines], trial)
                by_key[self._key(excerpt, rendition)] = Wanted(excerpt, trial)
        return by_key

    def trials(self, wanted: Mapping[str, Wanted], sizes: Sequence[TrialSize]) -> tuple[TrialTask, ...]:
        """Tasks that run the wanted trials, as returned by `keys`."""
        keys = {each: key for key, each in wanted.items()}
        by_excerpt: dict[Excerpt, list[Trial]] = {}
        for each in wanted.values():
            by_excerpt.setdefault(each.excerpt, []).append(each.trial)
        return tuple(
            self.trial(excerpt, group, tuple(keys[Wanted(excerpt, trial)] for trial, _ in group))
            for excerpt, trials in by_excerpt.items()
            for group in grouped(trials, sizes)
        )

    def excerpt_s(self, trials: Sequence[Trial], sizes: Sequence[TrialSize], frames: int) -> float:
        """CPU seconds of trials of this many frames."""
        return sum(self._trial_s(group, frames) for group in grouped(trials, sizes))

    def _key(self, excerpt: Excerpt, uncapped: VideoRendition) -> str:
        rendition = self._bounded(uncapped, excerpt)
        return self._digest(
            {
                "frames": [self._commands.frames(_chunk(excerpt)), excerpt.first_frame, excerpt.end_frame],
                "encoder": self._commands.alone(rendition),
                "reference": [self._size_px, self._commands.reference_format(rendition)],
                "judged": [self._viewing.model, self._shown_px, self._every(rendition)],
            }
        )

    def _every(self, rendition: VideoRendition) -> int:
        if self._grid.frame_count <= FEW_FRAMES:
            return 1
        return measuring.spacing(self._grid.gop_frames // rendition.rate_divisor)

    def trial(self, excerpt: Excerpt, group: "Group", keys: tuple[str, ...]) -> TrialTask:
        """The task that encodes an excerpt into some renditions of one codec and frame rate."""
        chunk = _chunk(excerpt)
        renditions = [self._bounded(rendition, excerpt) for _, rendition in group]
        reference = replace(
            renditions[0],
            id=REFERENCE,
            width_px=self._size_px[0],
            height_px=self._size_px[1],
            rate_divisor=1,
            frame_rate=self._grid.frame_rate,
            pixel_format=self._commands.reference_format(renditions[0]),
        )
        argv = self._commands.trial(chunk, renditions, reference)
        encoders_bytes = self._pricing.video_bytes(renditions)
        work = EncodeTask(
            id=self._digest(keys),
            kind=Kind.VIDEO,
            chunk=chunk,
            renditions=tuple(rendition.id for rendition in renditions),
            argv=argv,
            cost=self._trial_s(group, excerpt.frame_count) + self._lead_s(chunk),
            memory_bytes=max(encoders_bytes, round(self._measure_mb(len(renditions)) * SAFE * _MEGA)),
            reads=(self._read_range(chunk),),
        )
        return TrialTask(
            work=work,
            trials=tuple(trial for trial, _ in group),
            keys=keys,
            sizes_px=tuple((rendition.width_px, rendition.height_px) for rendition in renditions),
            bit_depth=bit_depth_of(renditions[0]),
            rate_divisor=renditions[0].rate_divisor,
            viewing=self._viewing,
            shown_px=self._shown_px,
            every=self._every(renditions[0]),
        )

    def _bounded(self, rendition: VideoRendition, excerpt: Excerpt) -> VideoRendition:
        """Add a cap to a rendition if its codec needs one for trials and it has none."""
        if rendition.codec not in BOUNDED or rendition.cap_bps:
            return rendition
        survey_bps = 8 * excerpt.size_bytes / excerpt.frame_count * float(self._grid.frame_rate)
        area = rendition.width_px * rendition.height_px / _survey_pixels(self._size_px)
        finer = 2 ** ((EXPECTED_AT_CRF - rendition.crf) / CRF_PER_HALVING)
        expected_bps = EXPECTED_OF_SURVEY * survey_bps * area**AREA_EXPONENT * finer
        bound_bps = max(MIN_BOUND_BPS, round(BOUND * expected_bps))
        return replace(rendition, cap_bps=bound_bps, buffer_bits=bound_bps * 4 // 3)

    def _trial_s(self, group: "Group", frames: int) -> float:
        renditions = [rendition for _, rendition in group]
        every = self._every(renditions[0])
        screen = self._shown_px[0] * self._shown_px[1] / _SCREEN
        measured = frames / renditions[0].rate_divisor * len(renditions)
        frame_s = MEASURE_FRAME_S.get(every, MEASURE_FRAME_S[7])
        kept = frames * self._size_px[0] * self._size_px[1] / _MEGA * LOSSLESS_S
        return self._pricing.video_s(renditions, frames) + measured * frame_s * screen + kept

    def _measure_mb(self, renditions: int) -> float:
        screen = self._shown_px[0] * self._shown_px[1] / _SCREEN
        return MEASURE_START_MB + MEASURE_MB * screen * min(renditions, max_concurrent_measurements(self._shown_px))

    # --- both ---

    def _lead_s(self, chunk: Chunk) -> float:
        """CPU seconds to decode from the keyframe to a chunk's first frame."""
        lead = seeking.lead_s(self._conformed, chunk) * self._grid.frame_rate
        return float(lead) * (self._pricing.video_s((), 1) - self._pricing.video_s((), 0))

    def _read_range(self, chunk: Chunk) -> ReadRange:
        return seeking.read_range(self._conformed, chunk)

    def _digest(self, deciding: object) -> str:
        canonical = json.dumps([self._shared, deciding], sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(canonical).hexdigest()[:20]


Group = Sequence[tuple[Trial, VideoRendition]]


def grouped(trials: Sequence[Trial], sizes: Sequence[TrialSize]) -> Iterator[Group]:
    """Group trials into tasks of one codec and frame rate, and of at most `MAX_MEGAPIXELS`."""
    known = _by_place(sizes)
    capped = [(trial, _without_cap(known[trial.codec, trial.lines], trial)) for trial in trials]
    kinds = dict.fromkeys((trial.codec, rendition.rate_divisor) for trial, rendition in capped)
    for codec, divisor in kinds:
        group: list[tuple[Trial, VideoRendition]] = []
        room = MAX_MEGAPIXELS
        members = [member for member in capped if (member[0].codec, member[1].rate_divisor) == (codec, divisor)]
        for trial, rendition in sorted(members, key=lambda member: (-member[0].lines, member[0].crf)):
            pixels = rendition.width_px * rendition.height_px / _MEGA
            if group and (pixels > room or len(group) == measuring.MAX_RENDITIONS):
                yield group
                group, room = [], MAX_MEGAPIXELS
            group.append((trial, rendition))
            room -= pixels
        yield group


def max_concurrent_measurements(shown_px: tuple[int, int]) -> int:
    """Number of renditions to measure together: two on a screen of 2160 lines need as much memory as eight on HD."""
    return max(
        1, min(measuring.MAX_RENDITIONS, round(measuring.MAX_RENDITIONS * _SCREEN / (shown_px[0] * shown_px[1])))
    )


def _by_place(sizes: Iterable[TrialSize]) -> dict[tuple[Codec, int], VideoRendition]:
    return {(size.rendition.codec, size.lines): size.rendition for size in sizes}


def _survey_pixels(size_px: tuple[int, int]) -> float:
    """Pixels of a survey's picture."""
    share = min(1.0, survey.LINES / min(size_px))
    return size_px[0] * size_px[1] * share**2


def _chunk(excerpt: Excerpt) -> Chunk:
    return Chunk(excerpt.number, excerpt.first_frame, excerpt.end_frame, 1)


def _without_cap(rendition: VideoRendition, trial: Trial) -> VideoRendition:
    return replace(rendition, id=trial.id, crf=trial.crf, cap_bps=0, buffer_bits=0)
