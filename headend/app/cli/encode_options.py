"""Options of encoding: picture, sound, text, quality and per-title ladders."""

import re
from dataclasses import replace
from fractions import Fraction
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from headend.app.cli.options import Command, absolute
from headend.app.cli.parameters import FiniteRange
from headend.core.errors import ConfigError
from headend.core.media import AudioRole, Crop, Effort, TextRole
from headend.core.media.quality import DEFAULT_THRESHOLDS, Checking, Thresholds
from headend.core.settings import (
    CAPTIONS,
    DEFAULT_LIMITS,
    DEFAULT_LOUDNESS_LUFS,
    DEFAULT_MOST_SOUND_GAP_S,
    AudioChoice,
    AudioFileChoice,
    Channel,
    Cropping,
    EncodeSettings,
    Fit,
    Limits,
    PictureChoice,
    SubtitleOffset,
    Targets,
    TextChoice,
)

TARGETS = Targets()


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> Fraction:
    seconds = Fraction(0)
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9}|/[1-9][0-9]{0,8})?", value, re.ASCII):
        seconds = Fraction(value)
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is not a number of seconds above 0, such as 6 or 5.005.")
    return seconds


def _programmes(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[AudioChoice, ...]:
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


def _embedded(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...] | None:
    if value in ("all", "none"):
        return None if value == "all" else ()
    names = tuple(value.split(","))
    if not all(name == CAPTIONS or (name.isascii() and name.isdigit()) for name in names):
        raise click.BadParameter(f"{value!r} is not all, none, or stream numbers and {CAPTIONS!r}, such as 3,4.")
    return names


def _offset(_ctx: click.Context, _param: click.Parameter, value: str) -> SubtitleOffset:
    if value == "auto":
        return None
    if re.fullmatch(r"[+-]?\d{1,6}(\.\d{1,6})?", value, re.ASCII) is None:
        raise click.BadParameter(f"{value!r} is not auto or a number of seconds, such as -3600 or 2.5.")
    return Fraction(value)


def _crop(_ctx: click.Context, _param: click.Parameter, value: str) -> Crop | Cropping:
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


def picture(command: Command) -> Command:
    """Add the choice of a master's picture; the command gets it as ``picture``, a `PictureChoice`."""

    @click.option(
        "--program",
        type=click.IntRange(min=0),
        metavar="N",
        help="Program of a transport stream to take picture, sound and text from, instead of the first one.",
    )
    @click.option(
        "--video",
        type=click.IntRange(min=0),
        metavar="N",
        help="Stream number of the picture, if the master has several.",
    )
    @wraps(command)
    def wrapped(*, program: int | None, video: int | None, **others: Any) -> Any:
        return command(picture=PictureChoice(program, video), **others)

    return wrapped


def fit(command: Command) -> Command:
    """Add options that determine a master's renditions; the command gets them as ``encode``, an `EncodeSettings`."""

    @picture
    @click.option(
        "--audio",
        multiple=True,
        callback=_programmes,
        metavar="STREAMS[:LANGUAGE[:ROLE[:NAME]]]",
        help="A programme of sound; repeatable. Without it, every track of the master is one. STREAMS is a stream "
        "number from 'headend probe', or several to join: 1+2 are left and right, six are L R C LFE Ls Rs; 1.0+1.1 "
        "are the first two channels of stream 1. "
        f"ROLE is {', '.join(AudioRole)}. Empty fields keep what the master states.",
    )
    @click.option(
        "--loudness",
        type=click.Choice(["-27", "-24", "-23", "off"]),
        default=str(DEFAULT_LOUDNESS_LUFS),
        show_default=True,
        help="Target of the integrated loudness in LUFS; each programme gets one static gain.",
    )
    @click.option(
        "--crop",
        default=Cropping.NONE.value,
        show_default=True,
        callback=_crop,
        metavar="auto|none|W:H:X:Y",
        help="auto removes black bars that stay the same throughout the film; W:H:X:Y keeps W x H pixels of the "
        "stored picture, X from the left and Y from the top.",
    )
    @click.option(
        "--max-dropped-frames",
        "dropped_percent",
        type=FiniteRange(0, 100),
        default=DEFAULT_LIMITS.dropped_percent,
        show_default=True,
        metavar="PERCENT",
        help="Refuse a master with a variable frame rate if more of its frames would be dropped.",
    )
    @click.option(
        "--max-repeated-frames",
        "repeated_percent",
        type=FiniteRange(0, 100),
        default=DEFAULT_LIMITS.repeated_percent,
        show_default=True,
        metavar="PERCENT",
        help="Refuse a master if more of the title's frames would be repeats; in a title of stills, nearly all are.",
    )
    @click.option(
        "--max-sound-gap",
        "most_sound_gap_s",
        callback=_seconds,
        default=str(float(DEFAULT_MOST_SOUND_GAP_S)),
        show_default=True,
        metavar="S",
        help="Refuse a master with a gap in its sound longer than this, or gaps longer than twice this in total; "
        "shorter gaps are filled with silence.",
    )
    @wraps(command)
    def wrapped(
        *,
        audio: tuple[AudioChoice, ...],
        loudness: str,
        crop: Crop | Cropping,
        dropped_percent: float,
        repeated_percent: float,
        most_sound_gap_s: Fraction,
        picture: PictureChoice,
        **others: Any,
    ) -> Any:
        settings = EncodeSettings(
            picture=picture,
            limits=Limits(dropped_percent, repeated_percent),
            most_sound_gap_s=most_sound_gap_s,
            crop=crop,
            audio=audio,
            loudness_lufs=None if loudness == "off" else int(loudness),
        )
        return command(encode=settings, **others)

    return wrapped


def thresholds(command: Command) -> Command:
    """Add the thresholds of quality; the command gets them as ``thresholds``, None if they are not given."""

    @click.option(
        "--qc-min-vmaf",
        "min_vmaf",
        type=FiniteRange(0, 100),
        show_default=f"{DEFAULT_THRESHOLDS.min_vmaf:g}, not for short or small titles",
        metavar="VMAF",
        help="Lowest mean VMAF of the best SDR rendition of each codec.",
    )
    @click.option(
        "--qc-min-segment",
        "min_segment",
        type=FiniteRange(0, 100),
        show_default=f"{DEFAULT_THRESHOLDS.min_segment:g}, not for short or small titles",
        metavar="VMAF",
        help="Lowest mean VMAF of a measured segment of these renditions.",
    )
    @wraps(command)
    def wrapped(*, min_vmaf: float | None, min_segment: float | None, **others: Any) -> Any:
        given = None
        if min_vmaf is not None or min_segment is not None:
            given = Thresholds(
                DEFAULT_THRESHOLDS.min_vmaf if min_vmaf is None else min_vmaf,
                DEFAULT_THRESHOLDS.min_segment if min_segment is None else min_segment,
                are_asked=True,
            )
        return command(thresholds=given, **others)

    return wrapped


def floor(command: Command) -> Command:
    """Add ``--floor`` to the command's ``encode``; apply it below `encode`."""

    @click.option(
        "--floor",
        "floor_vmaf",
        type=FiniteRange(0, 100),
        metavar="VMAF",
        help="Measure the largest SDR size of each codec while it is encoded. Chunks with a segment that is below this "
        "VMAF and not at its cap are encoded once more with more bits.",
    )
    @wraps(command)
    def wrapped(*, floor_vmaf: float | None, encode: EncodeSettings, **others: Any) -> Any:
        return command(encode=replace(encode, floor_vmaf=floor_vmaf), **others)

    return wrapped


def quality(command: Command) -> Command:
    """Add the quality check before publishing; the command gets ``checking`` and ``thresholds``."""
    return checking(thresholds(command))


def checking(command: Command) -> Command:
    """Add ``--qc``; the command gets it as ``checking``."""

    @click.option(
        "--qc",
        type=click.Choice([str(level) for level in Checking]),
        default=str(Checking.SAMPLED),
        envvar="HEADEND_QC",
        show_envvar=True,
        show_default=True,
        help="How much of the picture to measure before the release is published: nothing, a tenth, or all of it. A "
        "release that fails the rules is kept but not published, and the exit status is 6.",
    )
    @wraps(command)
    def wrapped(*, qc: str, **others: Any) -> Any:
        return command(checking=Checking(qc), **others)

    return wrapped


def encode(command: Command) -> Command:
    """Add the options of encoding; the command gets them as ``encode``, an `EncodeSettings`."""

    @click.option(
        "--segment-seconds",
        "segment_s",
        callback=_seconds,
        default="6",
        show_default=True,
        metavar="S",
        help="Length of a segment.",
    )
    @click.option(
        "--chunk-seconds",
        "chunk_s",
        callback=_seconds,
        default="30",
        show_default=True,
        metavar="S",
        help="Length of a chunk, the unit of parallel work.",
    )
    @click.option(
        "--effort",
        type=click.Choice([effort.value for effort in Effort]),
        default=Effort.STANDARD.value,
        show_default=True,
        help="How much work the encoders do.",
    )
    @click.option(
        "--thumbnails/--no-thumbnails",
        default=True,
        show_default=True,
        help="Make thumbnails for seek bars, and trick play renditions with one frame per GOP.",
    )
    @click.option(
        "--subtitles",
        "text",
        multiple=True,
        callback=texts,
        metavar="FILE[:LANGUAGE[:ROLE[:NAME]]]",
        help="A subtitle file: SRT, WebVTT, ASS or TTML, as a path or s3:// address; repeatable. A stream number from "
        f"'headend probe', or {CAPTIONS!r}, in place of FILE labels the master's own text. "
        f"ROLE is {', '.join(TextRole)}.",
    )
    @click.option(
        "--embedded-text",
        callback=_embedded,
        default="all",
        show_default=True,
        metavar="all|none|STREAMS",
        help=f"Text of the master to deliver: stream numbers and {CAPTIONS!r}, separated by commas.",
    )
    @click.option(
        "--subtitle-offset",
        default="0",
        show_default=True,
        callback=_offset,
        metavar="auto|SECONDS",
        help="Seconds to add to the times of --subtitles files, such as -3600; auto subtracts whole hours if that "
        "moves the cues into the film.",
    )
    @click.option(
        "--dynamic-range",
        type=click.Choice(["full", "compressed"]),
        default="full",
        show_default=True,
        help="Whether AC-3 and E-AC-3 masters are decoded with their dynamic range compression.",
    )
    @click.option(
        "--allow-damaged",
        is_flag=True,
        help="Where the master can't be decoded, repeat frames and insert silence, and record where.",
    )
    @fit
    @wraps(command)
    def wrapped(
        *,
        segment_s: Fraction,
        chunk_s: Fraction,
        effort: str,
        thumbnails: bool,
        text: tuple[TextChoice, ...],
        embedded_text: tuple[str, ...] | None,
        subtitle_offset: SubtitleOffset,
        dynamic_range: str,
        allow_damaged: bool,
        encode: EncodeSettings,
        **others: Any,
    ) -> Any:
        settings = replace(
            encode,
            segment_s=segment_s,
            chunk_s=chunk_s,
            effort=Effort(effort),
            thumbnails=thumbnails,
            text=text,
            embedded_text=embedded_text,
            subtitle_offset=subtitle_offset,
            compressed=dynamic_range == "compressed",
            allow_damaged=allow_damaged,
        )
        return command(encode=settings, **others)

    return wrapped


def per_title(command: Command) -> Command:
    """Add the targets of a per-title ladder; the command gets them as ``targets``, a `Targets`."""

    @click.option(
        "--renditions",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of SDR video renditions of a per-title ladder, at least 3 for each codec. "
        "[default: as many as the ladder gives this master]",
    )
    @click.option(
        "--top-vmaf",
        type=FiniteRange(50, 100),
        default=TARGETS.top_vmaf,
        show_default=True,
        metavar="V",
        help="VMAF of the highest rung of a per-title ladder; more bits would make no visible difference.",
    )
    @click.option(
        "--analysis-share",
        type=FiniteRange(0, 100, min_open=True),
        default=100 * TARGETS.analysis_share,
        show_default=True,
        metavar="PERCENT",
        help="CPU for trial encodes, as a share of the encode's predicted CPU; at least four excerpts are encoded.",
    )
    @wraps(command)
    def wrapped(*, renditions: int | None, top_vmaf: float, analysis_share: float, **others: Any) -> Any:
        return command(targets=Targets(renditions, top_vmaf, analysis_share / 100), **others)

    return wrapped


def fit_per_title(command: Command) -> Command:
    """Add ``--fit`` and the options of `per_title`; ``targets`` is None for a fixed ladder.

    Raises:
        ConfigError: An option for per-title ladders is given with a fixed one.
    """

    @click.option(
        "--fit",
        "wanted",
        type=click.Choice([each.value for each in Fit]),
        default=Fit.FIXED.value,
        show_default=True,
        help="Use the ladder's rungs as they are, or place them for this master by trial encodes.",
    )
    @per_title
    @wraps(command)
    def wrapped(*, wanted: str, targets: Targets, **others: Any) -> Any:
        ctx = click.get_current_context()
        if Fit(wanted) is Fit.PER_TITLE:
            return command(targets=targets, **others)
        for name in ("renditions", "top_vmaf", "analysis_share"):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is for a ladder fitted to the title: add --fit {Fit.PER_TITLE}")
        return command(targets=None, **others)

    return wrapped
