"""Reduces a ladder to selected codecs and rungs (``--only-codecs`` and ``--only-rungs``)."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeVar

from headend.core.errors import ConfigError
from headend.core.media import AudioRung, Codec
from ladders.ladder import Ladder, VideoRung

Rung = TypeVar("Rung", VideoRung, AudioRung)


def select(ladder: Ladder, *, codecs: Sequence[str] = (), rungs: Sequence[str] = ()) -> Ladder:
    """Reduce a ladder to some of its codecs and rungs.

    Video and audio are selected independently: if only video codecs are given, all audio rungs stay, and vice versa.

    Args:
        ladder: The ladder.
        codecs: Names of codecs; empty for all.
        rungs: Patterns for ids of rungs, such as ``avc-*``; empty for all.

    Raises:
        ConfigError: A name or pattern matches nothing.
    """
    everything: tuple[VideoRung | AudioRung, ...] = (*ladder.video, *ladder.audio)
    known = dict.fromkeys(rung.codec for rung in everything)
    for name in codecs:
        if name not in known:
            raise ConfigError(f"--only-codecs: ladder {ladder.name!r} has no {name!r}; it has {', '.join(known)}")
    for pattern in rungs:
        if not any(fnmatchcase(rung.id, pattern) for rung in everything):
            raise ConfigError(
                f"--only-rungs: no rung of ladder {ladder.name!r} matches {pattern!r}; "
                f"`headend ladder show {ladder.name}` lists them"
            )
    video = _matching(_of_codecs(ladder.video, codecs), rungs)
    audio = _matching(_of_codecs(ladder.audio, codecs), rungs)
    return replace(ladder, video=_with_video_default(video, ladder.video), audio=_with_audio_default(audio))


def _of_codecs(rungs: tuple[Rung, ...], codecs: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of some codecs; all rungs if none has one of them."""
    return tuple(rung for rung in rungs if rung.codec in map(Codec, codecs)) or rungs


def _matching(rungs: tuple[Rung, ...], patterns: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs whose ids match a pattern; all rungs if none does."""
    return tuple(rung for rung in rungs if any(fnmatchcase(rung.id, pattern) for pattern in patterns)) or rungs


def _with_video_default(video: tuple[VideoRung, ...], ladder_video: tuple[VideoRung, ...]) -> tuple[VideoRung, ...]:
    """If the rung where players start is not selected, mark the one with the nearest rate instead."""
    if not video or any(rung.default for rung in video):
        return video
    start_kbps = next((rung.average_kbps for rung in ladder_video if rung.default), 0)
    nearest = min(video, key=lambda rung: abs(rung.average_kbps - start_kbps))
    return tuple(replace(rung, default=rung is nearest) for rung in video)


def _with_audio_default(audio: tuple[AudioRung, ...]) -> tuple[AudioRung, ...]:
    """If the rung that every programme gets is not selected, mark the first one instead."""
    if not audio or any(rung.default for rung in audio):
        return audio
    return (replace(audio[0], default=True), *audio[1:])
