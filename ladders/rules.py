"""The rules for ladders, as a table: each rule finds violations and says how to fix them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from headend.core.codecs import AUDIO, VIDEO
from headend.core.media import AudioRung, Codec
from ladders.ladder import (
    AUDIO_CODECS,
    CRF_LIMITS,
    VIDEO_CODECS,
    WHOLE_CRF,
    FramePolicy,
    Ladder,
    RungRange,
    VideoRung,
    modelled_rate,
    rate_factor,
)

MIN_AVERAGE_RATIO = 1.1
"""Minimum ratio of the averages of two rungs of the same codec and size."""
MIN_MODELLED_RATIO = 1.1
"""Minimum ratio of the modelled rates of adjacent rungs. The model predicts a rate from size and crf alone."""
MAX_MEASURED_CAP = 4
"""Maximum ratio of cap to average in a per-title ladder."""
CELLULAR_KBPS = 192
"""Maximum peak rate of the lowest variant; Apple, HLS Authoring Specification, 9.21."""

_FORMATS = {(video.codec, *profile) for video in VIDEO for profile in video.profiles}
_RATES_KBPS = {audio.codec: audio.rates_kbps for audio in AUDIO if audio.rates_kbps is not None}
_SURROUND_FALLBACKS = {audio.codec: audio.surround_fallback for audio in AUDIO if audio.surround_fallback is not None}
_DECODED_EVERYWHERE = frozenset(audio.codec for audio in AUDIO if audio.in_first_release)
_CHANNELS = {"2.0": 2, "5.1": 6}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for ladders.

    Attributes:
        id: Its name.
        message: How to fix a violation.
        violations: Finds the violations in a ladder; returns a line for each, with the rungs and numbers.
        advice: Whether a ladder that breaks the rule may be used nevertheless.
    """

    id: str
    message: str
    violations: Callable[[Ladder], Iterator[str]]
    advice: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation of a rule.

    Attributes:
        rule: The rule's id.
        where: The rungs that violate it, with the numbers.
        message: How to fix it.
        advice: Whether the ladder may be used nevertheless.
    """

    rule: str
    where: str
    message: str
    advice: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.rule})"


def check(ladder: Ladder) -> tuple[Finding, ...]:
    """Check a ladder against all rules.

    Returns:
        Findings in the order of `RULES`; empty for a valid ladder.
    """
    return tuple(
        Finding(rule.id, where, rule.message, rule.advice) for rule in RULES for where in rule.violations(ladder)
    )


def _groups(ladder: Ladder) -> Iterator[tuple[VideoRung, ...]]:
    """The rungs of each codec and range, in the ladder's order."""
    keys = dict.fromkeys((rung.codec, rung.range) for rung in ladder.video)
    return (tuple(rung for rung in ladder.video if (rung.codec, rung.range) == key) for key in keys)


def _sizes(ladder: Ladder) -> Iterator[tuple[VideoRung, ...]]:
    """The rungs of each codec, range and height, by ascending average."""

    def by_height(rung: VideoRung) -> int:
        return rung.height_px

    for group in _groups(ladder):
        for _, rungs in groupby(sorted(group, key=by_height), by_height):
            yield tuple(sorted(rungs, key=lambda rung: rung.average_kbps))


def _codecs(ladder: Ladder) -> Iterator[str]:
    yield from (f"video {rung.id}" for rung in ladder.video if rung.codec not in VIDEO_CODECS)
    yield from (f"audio {rung.id}" for rung in ladder.audio if rung.codec not in AUDIO_CODECS)


def _families(ladder: Ladder) -> Iterator[str]:
    known = [family.codec for family in ladder.families]
    for codec in dict.fromkeys([*(rung.codec for rung in ladder.video), *known]):
        if known.count(codec) != 1:
            yield f"{codec} has {known.count(codec)} families"


def _formats(ladder: Ladder) -> Iterator[str]:
    for family in ladder.families:
        if (family.codec, family.profile, family.bit_depth) not in _FORMATS:
            yield f"{family.codec} {family.profile} with {family.bit_depth} bits"


def _hdr_depth(ladder: Ladder) -> Iterator[str]:
    eight = {family.codec for family in ladder.families if family.bit_depth < 10}
    yield from (rung.id for rung in ladder.video if rung.range is RungRange.HDR and rung.codec in eight)


def _factors(ladder: Ladder) -> Iterator[str]:
    if not 0 <= ladder.area_exponent <= 1:
        yield f"area_exponent = {ladder.area_exponent:g}"
    for family in ladder.families:
        if not (0.5 <= family.at_most_25p <= 1 <= family.above_30p <= 2 and family.crf_per_halving > 0):
            yield f"{family.codec}"


def _even(ladder: Ladder) -> Iterator[str]:
    for rung in ladder.video:
        if rung.width_px % 2 or rung.height_px % 2 or min(rung.width_px, rung.height_px) < 64:
            yield f"{rung.id} in {rung.width_px}x{rung.height_px}"


def _shape(ladder: Ladder) -> Iterator[str]:
    shapes = {rung.id: rung.width_px / rung.height_px for rung in ladder.video if rung.height_px > 0}
    first = next(iter(shapes.values()), 1.0)
    yield from (id for id, shape in shapes.items() if abs(shape / first - 1) > 0.01)


def _unique(ladder: Ladder) -> Iterator[str]:
    for rungs in (ladder.video, ladder.audio):
        ids = [rung.id for rung in rungs]
        yield from (id for id in dict.fromkeys(ids) if ids.count(id) > 1)


def _ascending(ladder: Ladder) -> Iterator[str]:
    for group in _groups(ladder):
        for low, high in pairwise(group):
            if high.height_px < low.height_px or high.average_kbps <= low.average_kbps:
                yield f"{low.id} before {high.id}"


def _apart(ladder: Ladder) -> Iterator[str]:
    families = {family.codec: family for family in ladder.families}
    for rungs in _sizes(ladder):
        if rungs[0].codec not in families:
            continue
        family = families[rungs[0].codec]
        # For a 60p master, rungs of one size may differ in frame rate and so in their rate factor.
        for source_fps in (25, 30, 60):
            averages = sorted(
                (
                    rung.average_kbps
                    * rate_factor(
                        family, min(source_fps, 30) if rung.frame_rate is FramePolicy.AT_MOST_30 else source_fps
                    ),
                    rung.id,
                )
                for rung in rungs
            )
            close = [(a[1], b[1]) for a, b in pairwise(averages) if b[0] < MIN_AVERAGE_RATIO * a[0]]
            if close:
                yield from (f"{low} and {high} of a {source_fps}p master" for low, high in close)
                break


def _crf_limits(ladder: Ladder) -> Iterator[str]:
    for rung in ladder.video:
        whole = rung.codec not in WHOLE_CRF or float(rung.crf).is_integer()
        if not (whole and 1 <= rung.crf <= CRF_LIMITS.get(rung.codec, 0)):
            yield f"{rung.id} with crf {rung.crf:g}"


def _crf_order(ladder: Ladder) -> Iterator[str]:
    for rungs in _sizes(ladder):
        yield from (f"{low.id} and {high.id}" for low, high in pairwise(rungs) if low.crf <= high.crf)


def _rising(ladder: Ladder) -> Iterator[str]:
    if ladder.measured:
        return  # the averages of a per-title ladder are measured, not modelled; "ascending" checks their order
    known = {family.codec for family in ladder.families}
    for group in _groups(ladder):
        if group[0].codec in known:
            for low, high in pairwise(group):
                in_order = high.height_px >= low.height_px and high.average_kbps > low.average_kbps
                finer = high.height_px > low.height_px or high.crf < low.crf
                if not (in_order and finer):
                    continue  # other rules report this
                if modelled_rate(ladder, high) < MIN_MODELLED_RATIO * modelled_rate(ladder, low):
                    yield f"{low.id} at crf {low.crf:g} and {high.id} at crf {high.crf:g}"


def _caps(ladder: Ladder) -> Iterator[str]:
    # In a per-title ladder, the peaks may be far above the measured average.
    most = MAX_MEASURED_CAP if ladder.measured else 2
    for rung in ladder.video:
        if not 1.1 * rung.average_kbps <= rung.cap_kbps <= most * rung.average_kbps:
            yield f"{rung.id} with cap_kbps {rung.cap_kbps}"


def _buffers(ladder: Ladder) -> Iterator[str]:
    for rung in ladder.video:
        if not rung.average_kbps <= rung.buffer_kb <= 2 * rung.cap_kbps:
            yield f"{rung.id} with buffer_kb {rung.buffer_kb}"


def _coverage(ladder: Ladder) -> Iterator[str]:
    for group in _groups(ladder):
        low, high = (choose(rung.average_kbps for rung in group) for choose in (min, max))
        if min(rung.height_px for rung in group) > 432 or high < 2 * low:
            yield f"{group[0].codec} {group[0].range} from {low} to {high} kb/s"


def _video_default(ladder: Ladder) -> Iterator[str]:
    defaults = [rung for rung in ladder.video if rung.default]
    if len(defaults) != 1 or defaults[0].range is not RungRange.SDR:
        yield ", ".join(rung.id for rung in defaults) or "no default"


def _audio_default(ladder: Ladder) -> Iterator[str]:
    defaults = [rung for rung in ladder.audio if rung.default]
    if ladder.audio and [(rung.codec in _DECODED_EVERYWHERE, rung.layout) for rung in defaults] != [(True, "2.0")]:
        yield ", ".join(rung.id for rung in defaults) or "no default"


def _has_surround(ladder: Ladder, codec: Codec) -> bool:
    return any((rung.codec, rung.layout) == (codec, "5.1") for rung in ladder.audio)


def _surround_fallback(ladder: Ladder) -> Iterator[str]:
    for codec, fallback in _SURROUND_FALLBACKS.items():
        if _has_surround(ladder, codec) and not _has_surround(ladder, fallback):
            yield f"{codec} 5.1 without {fallback} 5.1"


def _audio_rates(ladder: Ladder) -> Iterator[str]:
    def legal(rung: AudioRung) -> bool:
        channels = _CHANNELS.get(rung.layout, 0)
        if rung.bit_rate_kbps not in _RATES_KBPS.get(rung.codec, (rung.bit_rate_kbps,)):
            return False
        return 16 * channels <= rung.bit_rate_kbps <= 128 * channels

    yield from (rung.id for rung in ladder.audio if not legal(rung))


def _cellular(ladder: Ladder) -> Iterator[str]:
    video = min((rung.cap_kbps for rung in ladder.video if rung.codec is Codec.AVC), default=0)
    audio = min((rung.bit_rate_kbps for rung in ladder.audio if rung.codec in _DECODED_EVERYWHERE), default=0)
    if video and audio and video + audio > CELLULAR_KBPS:
        yield f"lowest avc cap {video} kb/s and lowest aac {audio} kb/s"


RULES = (
    Rule("codec", f"video rungs use {', '.join(VIDEO_CODECS)}; audio rungs use {', '.join(AUDIO_CODECS)}", _codecs),
    Rule("family", "give each video codec exactly one line in families", _families),
    Rule(
        "format",
        "use a supported profile and bit_depth: avc main or high with 8 bits, hevc main with 8 or main10 with 10, "
        "av1 main with 8 or 10, vp9 profile 0 with 8 or 2 with 10",
        _formats,
    ),
    Rule("hdr-depth", "an HDR rung needs 10 bits; raise the family's bit_depth or remove the rung", _hdr_depth),
    Rule(
        "factors",
        "keep area_exponent between 0 and 1, at_most_25p between 0.5 and 1, above_30p between 1 and 2, and "
        "crf_per_halving above 0",
        _factors,
    ),
    Rule("even-size", "make width_px and height_px even and at least 64", _even),
    Rule("one-shape", "give all rungs the aspect ratio of the first one, such as 16:9", _shape),
    Rule("unique-id", "several rungs have this id: change the size or the average of one of them", _unique),
    Rule("ascending", "list the rungs of a codec and range by ascending height_px and average_kbps", _ascending),
    Rule(
        "apart",
        "rungs of the same codec and size need averages that differ by at least 10 %: change one or remove it",
        _apart,
    ),
    Rule(
        "crf-range",
        "use a crf from 1 to 51 for avc and hevc, and a whole number from 1 to 63 for av1 and vp9",
        _crf_limits,
    ),
    Rule(
        "crf-order",
        "of two rungs of the same codec and size, the one with the lower average needs the higher crf",
        _crf_order,
    ),
    Rule(
        "rising",
        "size and crf of the second rung give it less than 10 % more rate than the first: lower its crf, or raise the "
        "crf of the first",
        _rising,
    ),
    Rule(
        "cap",
        "set cap_kbps to between 1.1 and 2 times average_kbps; a per-title ladder allows up to 4 times",
        _caps,
    ),
    Rule("buffer", "set buffer_kb to at least average_kbps and at most twice cap_kbps", _buffers),
    Rule(
        "coverage",
        "players don't change codec or range, so each needs a rung of at most 432 lines, and a highest average of at "
        "least twice the lowest",
        _coverage,
    ),
    Rule("video-default", "mark exactly one SDR rung with default = true", _video_default),
    Rule(
        "audio-default",
        "mark exactly one stereo AAC rung with default = true: every player can play it (Apple 2.3)",
        _audio_default,
    ),
    Rule("dolby-fallback", "a ladder with E-AC-3 5.1 also needs AC-3 5.1: add a rung (Apple 2.6)", _surround_fallback),
    Rule(
        "audio-rate",
        "use layout 2.0 or 5.1 and 16 to 128 kb/s per channel"
        + "".join(f"; {codec} supports only {', '.join(map(str, rates))}" for codec, rates in _RATES_KBPS.items()),
        _audio_rates,
    ),
    Rule(
        "cellular-floor",
        f"for slow mobile networks, the caps of the lowest H.264 and AAC rungs should add up to at most "
        f"{CELLULAR_KBPS} kb/s (Apple 9.21)",
        _cellular,
        advice=True,
    ),
)
"""All rules, in the order in which findings are reported."""
