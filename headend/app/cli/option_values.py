"""Parses the values of options: programmes of sound, subtitles, crops and times. Pure; errors are usage errors."""

import re
from dataclasses import replace
from fractions import Fraction

import click

from headend.app.cli.options import absolute
from headend.core.media import AudioRole, Crop, TextRole
from headend.core.settings import (
    CAPTIONS,
    AudioChoice,
    AudioFileChoice,
    Channel,
    Cropping,
    SubtitleOffset,
    TextChoice,
)


def seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> Fraction:
    """Parse a number of seconds above 0, such as ``6``, ``5.005`` or ``1001/200``."""
    parsed = Fraction(0)
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9}|/[1-9][0-9]{0,8})?", value, re.ASCII):
        parsed = Fraction(value)
    if parsed <= 0:
        raise click.BadParameter(f"{value!r} is not a number of seconds above 0, such as 6 or 5.005.")
    return parsed


def programmes(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[AudioChoice, ...]:
    """Parse values of ``STREAMS:LANG:ROLE:NAME`` for programmes of the master's sound."""
    return tuple(map(_programme, values))


def _programme(value: str) -> AudioChoice:
    streams, language, role, name = (*value.split(":", 3), "", "", "")[:4]
    places = [re.fullmatch(r"(\d{1,4})(?:\.(\d{1,3}))?", place, re.ASCII) for place in streams.split("+")]
    if None in places:
        raise click.BadParameter(
            f"{value!r} does not begin with stream numbers, such as 1 or 1+2, or channels of streams, such as 1.0+1.1; "
            "'headend probe' lists them."
        )
    picked = tuple(
        int(place[1]) if place[2] is None else Channel(int(place[1]), int(place[2])) for place in places if place
    )
    if role and role not in list(AudioRole):
        raise click.BadParameter(f"{role!r} is not a role; use one of {', '.join(AudioRole)}.")
    return AudioChoice(picked, language or None, AudioRole(role) if role else None, name or None)


def texts(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[TextChoice, ...]:
    """Parse values of ``FILE:LANG:ROLE:NAME`` for subtitles."""
    return tuple(map(_text, values))


def _text(value: str) -> TextChoice:
    source, language, role, name = _file_parts(value)
    if not source:
        raise click.BadParameter(f"{value!r} does not begin with a file, a stream number or {CAPTIONS!r}.")
    if role and role not in list(TextRole):
        raise click.BadParameter(f"{role!r} is not a role; use one of {', '.join(TextRole)}.")
    choice = TextChoice(source, language or None, TextRole(role) if role else None, name or None)
    return replace(choice, source=absolute(source)) if choice.is_sidecar else choice


def audio_files(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[AudioFileChoice, ...]:
    """Parse values of ``FILE:LANG:ROLE:NAME`` for files of sound."""
    return tuple(map(_audio_file, values))


def _audio_file(value: str) -> AudioFileChoice:
    source, language, role, name = _file_parts(value)
    if not source or not language:
        raise click.BadParameter(f"{value!r} is not FILE:LANG[:ROLE[:NAME]], such as film.fr.wav:fr:dub.")
    if role and role not in list(AudioRole):
        raise click.BadParameter(f"{role!r} is not a role; use one of {', '.join(AudioRole)}.")
    return AudioFileChoice(absolute(source), language, AudioRole(role) if role else None, name or None)


def _file_parts(value: str) -> tuple[str, str, str, str]:
    """Split ``FILE:LANG:ROLE:NAME``; FILE may be a URL, and the other parts may be missing."""
    scheme, mark, rest = value.partition("://")
    address, language, role, name = (*(rest if mark else value).split(":", 3), "", "", "")[:4]
    return f"{scheme}{mark}{address}" if mark and address else address, language, role, name


def embedded(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...] | None:
    """Parse which text of the master to deliver; None for all."""
    if value in ("all", "none"):
        return None if value == "all" else ()
    names = tuple(value.split(","))
    if not all(name == CAPTIONS or (name.isascii() and name.isdigit()) for name in names):
        raise click.BadParameter(f"{value!r} is not all, none, or stream numbers and {CAPTIONS!r}, such as 3,4.")
    return names


def offset(_ctx: click.Context, _param: click.Parameter, value: str) -> SubtitleOffset:
    """Parse a number of seconds, which may be negative; None for ``auto``."""
    if value == "auto":
        return None
    if re.fullmatch(r"[+-]?\d{1,6}(\.\d{1,6})?", value, re.ASCII) is None:
        raise click.BadParameter(f"{value!r} is not auto or a number of seconds, such as -3600 or 2.5.")
    return Fraction(value)


def crop(_ctx: click.Context, _param: click.Parameter, value: str) -> Crop | Cropping:
    """Parse ``auto``, ``none`` or ``W:H:X:Y``."""
    if value in list(Cropping):
        return Cropping(value)
    found = re.fullmatch(r"(\d{1,5}):(\d{1,5}):(\d{1,5}):(\d{1,5})", value, re.ASCII)
    crop = Crop(*map(int, found.groups())) if found else Crop(0, 0)
    if not (crop.width_px and crop.height_px) or any(
        length_px % 2 for length_px in (crop.width_px, crop.height_px, crop.left_px, crop.top_px)
    ):
        raise click.BadParameter(
            f"{value!r} is not auto, none, or four even numbers: width, height, left and top, such as 1920:804:0:138."
        )
    return crop
