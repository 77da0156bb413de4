"""Options of encoding: picture, sound and text."""

from dataclasses import replace
from fractions import Fraction
from functools import wraps
from typing import Any

import click

from headend.app.cli import option_values
from headend.app.cli.options import Command
from headend.app.cli.parameters import FiniteRange
from headend.core.media import AudioRole, Crop, Effort, TextRole
from headend.core.settings import (
    CAPTIONS,
    DEFAULT_LIMITS,
    DEFAULT_LOUDNESS_LUFS,
    DEFAULT_MOST_SOUND_GAP_S,
    AudioChoice,
    Cropping,
    EncodeSettings,
    Limits,
    PictureChoice,
    SubtitleOffset,
    TextChoice,
)


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
        callback=option_values.programmes,
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
        callback=option_values.crop,
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
        callback=option_values.seconds,
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


def encode(command: Command) -> Command:
    """Add the options of encoding; the command gets them as ``encode``, an `EncodeSettings`."""

    @click.option(
        "--segment-seconds",
        "segment_s",
        callback=option_values.seconds,
        default="6",
        show_default=True,
        metavar="S",
        help="Length of a segment.",
    )
    @click.option(
        "--chunk-seconds",
        "chunk_s",
        callback=option_values.seconds,
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
        callback=option_values.texts,
        metavar="FILE[:LANGUAGE[:ROLE[:NAME]]]",
        help="A subtitle file: SRT, WebVTT, ASS or TTML, as a path or s3:// address; repeatable. A stream number from "
        f"'headend probe', or {CAPTIONS!r}, in place of FILE labels the master's own text. "
        f"ROLE is {', '.join(TextRole)}.",
    )
    @click.option(
        "--embedded-text",
        callback=option_values.embedded,
        default="all",
        show_default=True,
        metavar="all|none|STREAMS",
        help=f"Text of the master to deliver: stream numbers and {CAPTIONS!r}, separated by commas.",
    )
    @click.option(
        "--subtitle-offset",
        default="0",
        show_default=True,
        callback=option_values.offset,
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
