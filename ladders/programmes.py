"""Fitting the sound of a ladder: chooses the renditions of each programme."""

from collections.abc import Sequence
from itertools import chain, count

from headend.core.errors import MasterError
from headend.core.media import AudioRendition, AudioRung, AudioTrack
from headend.core.media.speakers import holds_surround
from ladders.ladder import rungs_text

SAMPLE_RATE_HZ = 48_000


def fit_programmes(
    rungs: Sequence[AudioRung], tracks: Sequence[AudioTrack], decisions: list[str]
) -> tuple[AudioRendition, ...]:
    """Choose the renditions of all programmes.

    Args:
        rungs: The ladder's audio rungs.
        tracks: The programmes.
        decisions: Gets a line for each programme.

    Raises:
        MasterError: A programme's channels are unknown.
    """
    if not tracks:
        decisions.append("master has no audio tracks: no audio renditions")
        return ()
    first = next((track for track in tracks if track.default), tracks[0])
    renditions: list[AudioRendition] = []
    labels: set[str] = set()
    names: set[str] = set()
    for track in tracks:
        label, name = numbered(track.language, labels, "-"), numbered(track.title or track.language, names, " ")
        fitted = fit_programme(rungs, track, label=label, name=name, main=track is first)
        renditions += fitted
        decisions.append(
            f"audio track {track.label} ({label}, {track.layout or track.channels}): {rungs_text(len(fitted))}"
            + ("" if _is_surround(track) or len(fitted) == len(rungs) else ", stereo only")
        )
    return tuple(renditions)


def fit_programme(
    rungs: Sequence[AudioRung], track: AudioTrack, *, label: str, name: str, main: bool
) -> tuple[AudioRendition, ...]:
    """Choose the renditions of one sound programme.

    Args:
        rungs: The ladder's audio rungs.
        track: The programme.
        label: Suffix of its renditions' ids, such as ``pt-BR`` or ``en-2``; unique among programmes.
        name: Its name in players; unique among programmes.
        main: Whether it plays by default, and so gets every rung.

    Raises:
        MasterError: Its channels are unknown.
    """
    surround = _is_surround(track)
    return tuple(
        AudioRendition(
            id=f"{rung.id}-{label}",
            codec=rung.codec,
            layout=rung.layout,
            channels={"2.0": 2, "5.1": 6}[rung.layout],
            bit_rate_bps=1000 * rung.bit_rate_kbps,
            sample_rate_hz=SAMPLE_RATE_HZ,
            track_index=track.index,
            language=track.language,
            name=name,
            roles=track.roles,
            default=main,
        )
        for rung in rungs
        if _suits(rung, surround=surround, main=main)
    )


def _suits(rung: AudioRung, *, surround: bool, main: bool) -> bool:
    return (surround or rung.layout == "2.0") and (main or rung.every_programme or rung.default)


def _is_surround(track: AudioTrack) -> bool:
    """Whether a programme has 5.1 channels or more.

    Raises:
        MasterError: It has no channels, or more than two with unknown speakers.
    """
    if not track.speakers:
        raise MasterError(
            f"audio {track.label} has {track.channels} channels in an unknown layout; "
            f"select the channels to deliver, such as --audio {track.index}.0+{track.index}.1"
        )
    return holds_surround(track.speakers)


def numbered(word: str, used: set[str], separator: str) -> str:
    """Make a word unique: append the first free number from 2 if it is in ``used``, and add the result there."""
    candidates = chain([word], (f"{word}{separator}{number}" for number in count(2)))
    unique = next(candidate for candidate in candidates if candidate not in used)
    used.add(unique)
    return unique
