"""Choose the GOPs that represent a title, and predict the whole from trial encodes of them. Pure and deterministic.

The chance of a GOP is in proportion to its bytes in the survey's quick encode, so hard scenes are drawn more often;
each excerpt's weight corrects for that. The rate is a ratio estimate: the bytes of the excerpts in the trials, divided
by their bytes in the survey, times the survey's bytes of the whole title. It is exact if the two are proportional.

Source:
    W. G. Cochran, Sampling Techniques, 3rd edition, chapters 6 and 9A.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from headend.core.media.analysis import Excerpt, GopComplexity, TrialScore
from headend.core.timing import Grid

BYTES_FLOOR = 0.05
"""Share of a mean GOP's bytes that is added to each GOP, so that the weights of quiet GOPs don't become huge."""
RUN_FRAMES = 200
"""If all GOPs are tried, consecutive ones are one excerpt of at most this many frames. At the end of an excerpt, an
encoder doesn't see the next frames, and spends fewer bits than within the title."""
MIN_GOP_DIVISOR = 4
"""A last GOP shorter than a whole GOP divided by this is not drawn, unless it is the only one."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What trials predict of a whole title.

    Attributes:
        kbps: Mean rate.
        vmaf: Mean VMAF.
        vmaf_p5: Weighted mean of the excerpts' 5th percentiles.
    """

    kbps: float
    vmaf: float
    vmaf_p5: float


def draw(gops: Sequence[GopComplexity], gop_frames: int, count: int) -> tuple[Excerpt, ...]:
    """Choose excerpts.

    Args:
        gops: All GOPs of the title, in order.
        gop_frames: Frames of a whole GOP.
        count: Number of draws, at least 1. A GOP that is drawn twice is one excerpt of twice the weight.

    Returns:
        The excerpts in order. If there are no more than ``count`` GOPs, all of them with equal weights, in runs of at
        most `RUN_FRAMES`.
    """
    if len(gops) <= count:
        return tuple(_runs(gops))
    starts = [0, *accumulate(gop.frames for gop in gops)]
    drawable = [number for number, gop in enumerate(gops) if gop.frames * MIN_GOP_DIVISOR >= gop_frames] or [0]

    def excerpt(number: int, weight: float) -> Excerpt:
        return Excerpt(number, starts[number], starts[number + 1], gops[number].size_bytes, weight)

    if len(drawable) <= count:
        return tuple(excerpt(number, 1.0) for number in drawable)
    mean_bytes = sum(gops[number].size_bytes for number in drawable) / len(drawable)
    chances = [gops[number].size_bytes + BYTES_FLOOR * mean_bytes + 1 for number in drawable]
    ends = list(accumulate(chances))
    drawn = Counter(drawable[bisect_right(ends, (step + 0.5) / count * ends[-1])] for step in range(count))
    chance = dict(zip(drawable, chances, strict=True))
    weights = {number: drawn[number] / chance[number] for number in sorted(drawn)}
    least = min(weights.values())
    return tuple(excerpt(number, weight / least) for number, weight in weights.items())


def _runs(gops: Sequence[GopComplexity]) -> Iterator[Excerpt]:
    """All GOPs, consecutive ones together."""
    first = start = end = size_bytes = 0
    for number, gop in enumerate(gops):
        if end > start and end + gop.frames - start > RUN_FRAMES:
            yield Excerpt(first, start, end, size_bytes, 1.0)
            first, start, size_bytes = number, end, 0
        end += gop.frames
        size_bytes += gop.size_bytes
    yield Excerpt(first, start, end, size_bytes, 1.0)


def predict(
    excerpts: Sequence[Excerpt], scores: Mapping[int, TrialScore], gops: Sequence[GopComplexity], grid: Grid
) -> Prediction:
    """Predict the rate and quality of a whole title at the size and rate factor of one trial.

    Args:
        excerpts: The excerpts of the trial.
        scores: The score of each excerpt, by the excerpt's number.
        gops: All GOPs of the title.
        grid: The title's grid.
    """
    trial_bytes = sum(excerpt.weight * scores[excerpt.number].size_bytes for excerpt in excerpts)
    survey_bytes = sum(excerpt.weight * excerpt.size_bytes for excerpt in excerpts)
    frames = sum(excerpt.weight * excerpt.frame_count for excerpt in excerpts)
    if survey_bytes:
        whole_bytes = trial_bytes / survey_bytes * sum(gop.size_bytes for gop in gops)
    else:
        whole_bytes = trial_bytes / frames * grid.frame_count

    def mean(values: Mapping[int, float]) -> float:
        return sum(e.weight * e.frame_count * values[e.number] for e in excerpts) / frames

    return Prediction(
        float(whole_bytes * 8 / 1000 / grid.duration_s),
        mean({number: score.vmaf for number, score in scores.items()}),
        mean({number: score.vmaf_p5 for number, score in scores.items()}),
    )


def peak_ratio(gops: Sequence[GopComplexity], gops_in_segment: int) -> float:
    """Ratio of the 95th percentile of the segments' rates to the mean rate, at least 1."""
    groups = [gops[start : start + gops_in_segment] for start in range(0, len(gops), gops_in_segment)]
    rates = sorted(Fraction(sum(gop.size_bytes for gop in group), sum(gop.frames for gop in group)) for group in groups)
    mean = Fraction(sum(gop.size_bytes for gop in gops), sum(gop.frames for gop in gops))
    return max(1.0, float(rates[int(0.95 * (len(rates) - 1))] / mean)) if mean else 1.0
