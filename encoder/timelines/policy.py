"""Decide how to repair gaps, overlaps and drift of sound, and reject sound with more than the user allows."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import ceil

from headend.core.errors import MasterError
from headend.core.media import AudioTrack, Change, Master, Span, Timeline

_MAX_LISTED = 3
"""Maximum number of gaps or overlaps that a message lists."""
_MIN_THRESHOLD_S, _MAX_THRESHOLD_S = Fraction(1, 100), Fraction(1, 10)
"""Limits of the threshold above which ``aresample`` inserts silence or cuts sound."""


def resampling_options(timeline: Timeline | None, rate_hz: int) -> dict[str, object]:
    """Options of FFmpeg's ``aresample`` that place sound by its timestamps; empty if counting samples is enough.

    Args:
        timeline: The stream's timeline.
        rate_hz: Sample rate of the result.
    """
    if timeline is None or timeline.even:
        return {}
    breaks_s = [abs(span.end_s - span.start_s) for span in (*timeline.gaps(), *timeline.overlaps())]
    # The threshold is a little less than the shortest break, so that single wrong timestamps are ignored.
    threshold_s = min(_MAX_THRESHOLD_S, max(_MIN_THRESHOLD_S, min(breaks_s) * 3 / 4)) if breaks_s else _MAX_THRESHOLD_S
    options: dict[str, object] = {"async": 1, "min_hard_comp": float(round(threshold_s, 3))}
    if timeline.drift_s:
        # Maximum correction in samples per second: 5 %.
        options["async"] = rate_hz // 20
    return options


def check(
    master: Master,
    programmes: Sequence[AudioTrack],
    *,
    start_s: Fraction,
    max_s: Fraction,
    option: str = "--max-sound-gap",
) -> None:
    """Reject sound with gaps and overlaps that are too long to repair without the user's consent.

    Args:
        master: Named in the error.
        programmes: The programmes to deliver.
        start_s: When the master shows its first frame; times in messages count from there.
        max_s: Maximum length of one gap or overlap; twice as much is allowed in total.
        option: The command-line option that allows more; the error message recommends it. Empty for none.

    Raises:
        MasterError: There are longer ones, or channels or sample rate change. The message says where.
    """
    for stream, timeline in _timelines(programmes):
        if timeline.changes:
            raise format_change_error(master, stream, timeline.changes[0], start_s)
        for what, spans, repair in (
            ("no sound", list(timeline.gaps()), "allow silence there"),
            ("sound twice", list(timeline.overlaps()), "allow cutting the later one"),
        ):
            longest_s, total_s = max(map(_length, spans), default=Fraction(0)), _total(spans)
            if longest_s <= max_s and total_s <= 2 * max_s:
                continue
            advice = f", or {repair} with {option} {_rounded_up(max(longest_s, total_s / 2))}" if option else ""
            raise MasterError(
                f"{master.url}: audio {stream} has {what} for {_seconds(total_s)} in total, at "
                f"{_listed(spans, start_s)}; deliver it again{advice}",
                stream=stream,
                places=[_text(span, start_s) for span in spans],
            )


def format_change_error(master: Master, stream: int, change: Change, start_s: Fraction) -> MasterError:
    """Return the error for sound whose channels or sample rate change; arguments as for `check`."""
    return MasterError(
        f"{master.url}: audio {stream} changes from {change.before} to {change.after} at "
        f"{_seconds(change.at_s - start_s)}; deliver it with the same channels and rate throughout",
        stream=stream,
    )


def describe(programmes: Sequence[AudioTrack], *, start_s: Fraction) -> Iterator[str]:
    """Describe the repairs of sound, a line for each; ``start_s`` as for `check`."""
    for stream, timeline in _timelines(programmes):
        if gaps := list(timeline.gaps()):
            yield f"audio {stream} has no sound at {_listed(gaps, start_s)} → {_seconds(_total(gaps))} of silence"
        if overlaps := list(timeline.overlaps()):
            yield f"audio {stream} has sound twice at {_listed(overlaps, start_s)} → the later one is cut there"
        if timeline.drift_s:
            longer = "longer" if timeline.drift_s > 0 else "shorter"
            yield (
                f"audio {stream} is {_seconds(abs(timeline.drift_s))} {longer} by its timestamps than by its "
                "samples → resampled to its timestamps"
            )


def _timelines(programmes: Sequence[AudioTrack]) -> Iterator[tuple[int, Timeline]]:
    """Each stream of the programmes: its number and its timeline."""
    for programme in programmes:
        for part in programme.parts or (programme,):
            if part.timeline is not None:
                yield part.index, part.timeline


def _length(span: Span) -> Fraction:
    return span.end_s - span.start_s


def _total(spans: Iterable[Span]) -> Fraction:
    return sum(map(_length, spans), Fraction(0))


def _seconds(time_s: Fraction) -> str:
    return f"{float(time_s):.3f} s"


def _listed(spans: Sequence[Span], start_s: Fraction) -> str:
    more = f" and {len(spans) - _MAX_LISTED} more" if len(spans) > _MAX_LISTED else ""
    return ", ".join(_text(span, start_s) for span in spans[:_MAX_LISTED]) + more


def _text(span: Span, start_s: Fraction) -> str:
    return f"{float(span.start_s - start_s):.3f}–{float(span.end_s - start_s):.3f} s"


def _rounded_up(time_s: Fraction) -> str:
    return f"{ceil(time_s * 10) / 10:.1f}"
