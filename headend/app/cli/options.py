"""Options that several commands share."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from headend.app.cli.ranges import FiniteRange
from headend.core.errors import ConfigError
from headend.core.layout import check_title
from headend.core.media import AudioRole, Crop, Effort, TextRole
from headend.core.media.quality import DEFAULT_THRESHOLDS, Checking, Thresholds
from headend.core.paths import expanded
from headend.core.prices import DEFAULT as DEFAULT_PRICES
from headend.core.prices import load as load_prices
from headend.core.settings import (
    CAPTIONS,
    DEFAULT_LADDER,
    DEFAULT_LIMITS,
    DEFAULT_LOUDNESS_LUFS,
    DEFAULT_MOST_SOUND_GAP_S,
    DEFAULT_STORE,
    DEFAULT_STORE_PATIENCE_S,
    DEFAULT_WAIT_FOR_WORKERS_S,
    AudioChoice,
    AudioFileChoice,
    Channel,
    ClusterSettings,
    Cropping,
    EncodeSettings,
    Fit,
    Limits,
    PictureChoice,
    StoreSettings,
    SubtitleOffset,
    Targets,
    TextChoice,
)

Command = Callable[..., Any]
TARGETS = Targets()


class ByteCount(click.ParamType[int]):
    """A number of bytes, such as ``256M`` or ``10G``."""

    name = "bytes"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return the name that help shows."""
        return "BYTES"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        match = re.fullmatch(r"([1-9][0-9]{0,15})([KMGT]?)", str(value).upper())
        if match is None:
            self.fail(f"{value!r} is not a number of bytes, such as 256M or 10G.", param, ctx)
        return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


class WebAddress(click.ParamType[str]):
    """A public URL for players, without credentials, query or trailing slash."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        try:
            parts = urlsplit(value)
            is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_good = False
        is_plain = is_good and not parts.username and not parts.query and not parts.fragment
        if not is_plain or parts.scheme not in ("http", "https") or not value.isascii() or not value.isprintable():
            self.fail("it is not an address such as https://licences.example.", param, ctx)
        if any(character in value for character in "\"' <>;,"):
            self.fail("it is not an address such as https://licences.example.", param, ctx)
        return value.rstrip("/")


class Duration(click.ParamType[float]):
    """A duration such as ``90s``, ``15m`` or ``2h``; converted to seconds."""

    name = "duration"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return the name that help shows."""
        return "TIME"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(0|[1-9][0-9]{0,8})([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration, such as 90s, 15m or 2h.", param, ctx)
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]


class Seconds(click.ParamType[Fraction]):
    """A number of seconds, 0 or more, such as ``6`` or ``5.005``."""

    name = "seconds"

    def convert(self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        if isinstance(value, Fraction):
            return value
        if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", value, re.ASCII):
            self.fail(f"{value!r} is not a number of seconds, such as 6 or 5.005.", param, ctx)
        return Fraction(value)


def _existing_folder(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not expanded(value).is_dir():
        raise click.BadParameter(f"there is no folder {value!r}; create it first.")
    return absolute(value)


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


def examples(*lines: str) -> str:
    """Format examples for the end of a command's help; the backspace makes click keep the lines."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def absolute(address: str) -> str:
    """Make a path absolute, because workers run in other folders; leave URLs unchanged."""
    return address if not address or "://" in address else str(expanded(address))


def _set_verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if ctx.obj is not None and value:
        ctx.obj.verbose = True


def _titled(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else check_title(value)


def common(command: Command) -> Command:
    """Add ``--json`` (given to the command as ``as_json``) and ``--verbose``."""
    command = click.option(
        "--verbose",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_verbose,
        help="Show the details of errors.",
    )(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")(
        command
    )


def address(host: str, port: int) -> Callable[[Command], Command]:
    """Add ``--host`` and ``--port`` with these defaults, for commands that listen."""

    def add(command: Command) -> Command:
        command = click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port to listen on; 0 for a free one.",
        )(command)
        return click.option("--host", default=host, show_default=True, help="Address to listen on.")(command)

    return add


def linger(command: Command) -> Command:
    """Add ``--linger``, given to the command as ``linger_s``."""
    return click.option(
        "--linger",
        "linger_s",
        type=FiniteRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="How long to keep serving after SIGTERM, while /readyz returns 503. [default: 0]",
    )(command)


def master(command: Command) -> Command:
    """Add the argument MASTER."""
    return click.argument("master", callback=lambda _ctx, _param, value: absolute(value))(command)


def title(command: Command) -> Command:
    """Add ``--title``; it is checked before other options."""
    return click.option(
        "--title",
        required=True,
        metavar="SLUG",
        callback=_titled,
        is_eager=True,
        help="The title's name in the catalogue: a-z, 0-9 and '-' only.",
    )(command)


def title_argument(command: Command) -> Command:
    """Add the argument TITLE."""
    return click.argument("title", callback=_titled)(command)


def endpoint(command: Command) -> Command:
    """Add ``--s3-endpoint``."""
    return click.option(
        "--s3-endpoint",
        "endpoint_url",
        metavar="URL",
        envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        show_envvar=True,
        help="S3 server for s3:// addresses, if not AWS.",
    )(command)


def store(command: Command) -> Command:
    """Add ``--store`` and ``--s3-endpoint``; the command gets both as ``store``, a `StoreSettings`."""

    @click.option(
        "--store",
        "store_url",
        metavar="URL",
        envvar="HEADEND_STORE",
        default=DEFAULT_STORE,
        show_envvar=True,
        show_default=True,
        help="Where titles are: a folder or s3://bucket/prefix.",
    )
    @endpoint
    @wraps(command)
    def wrapped(*, store_url: str, endpoint_url: str | None, **others: Any) -> Any:
        return command(store=StoreSettings(absolute(store_url), endpoint_url), **others)

    return wrapped


def existing_store(command: Command) -> Command:
    """Add the same as `store`, for commands that need an existing store: a missing folder is an error.

    Raises:
        ConfigError: There is no store at the address.
    """

    @store
    @wraps(command)
    def wrapped(*, store: StoreSettings, **others: Any) -> Any:
        if "://" not in store.url and not Path(store.url).is_dir():
            raise ConfigError(f"there is no store at {store.url}: check --store, or create one with 'headend submit'")
        return command(store=store, **others)

    return wrapped


def ladder(command: Command) -> Command:
    """Add ``--ladder``."""
    return click.option(
        "--ladder",
        default=DEFAULT_LADDER,
        show_default=True,
        metavar="NAME|FILE",
        help="A ladder's name, or a TOML file.",
    )(command)


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
        asked = None
        if min_vmaf is not None or min_segment is not None:
            asked = Thresholds(
                DEFAULT_THRESHOLDS.min_vmaf if min_vmaf is None else min_vmaf,
                DEFAULT_THRESHOLDS.min_segment if min_segment is None else min_segment,
                are_asked=True,
            )
        return command(thresholds=asked, **others)

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


def _stronger(one: str, other: str) -> str | None:
    """Return which of two exclusive options comes from the source with precedence; None if from the same one."""
    ctx = click.get_current_context()
    places = [ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE]
    first, second = (
        places.index(found) if (found := ctx.get_parameter_source(name)) in places else -1 for name in (one, other)
    )
    if first == second:
        return None
    return one if first > second else other


def cluster(command: Command) -> Command:
    """Add the choice of the cluster; the command gets it as ``cluster``, a `ClusterSettings`."""

    @click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Encode with N processes on this machine, instead of one per core.",
    )
    @click.option("--scheduler", metavar="ADDR", help="Encode on a running Dask cluster, such as tcp://10.0.0.5:8786.")
    @wraps(command)
    def wrapped(*, workers: int | None, scheduler: str | None, **others: Any) -> Any:
        if workers and scheduler:
            stronger = _stronger("workers", "scheduler")
            if stronger is None:
                raise ConfigError("--workers starts a local cluster, --scheduler uses a running one: give one of them")
            workers, scheduler = (workers, None) if stronger == "workers" else (None, scheduler)
        return command(cluster=ClusterSettings(scheduler, workers), **others)

    return wrapped


def scratch(command: Command) -> Command:
    """Add ``--scratch`` to the command's ``cluster``; apply it below `cluster`."""

    @click.option(
        "--scratch",
        metavar="DIR",
        callback=_existing_folder,
        help="Folder for scratch files of encoding on this machine; workers of a cluster use --local-directory.",
    )
    @wraps(command)
    def wrapped(*, scratch: str | None, cluster: ClusterSettings, **others: Any) -> Any:
        return command(cluster=replace(cluster, scratch=scratch), **others)

    return wrapped


def running(command: Command) -> Command:
    """Add scratch space and waiting times to the command's ``store`` and ``cluster``; apply it below these two."""

    @scratch
    @click.option(
        "--wait-for-workers",
        "wait_for_workers_s",
        type=Duration(),
        default=f"{DEFAULT_WAIT_FOR_WORKERS_S / 60:.0f}m",
        show_default=True,
        help="How long to wait while the cluster has no worker that can run a task.",
    )
    @click.option(
        "--store-patience",
        "patience_s",
        type=Duration(),
        default=f"{DEFAULT_STORE_PATIENCE_S / 60:.0f}m",
        show_default=True,
        help="How long to retry while the store can't be reached.",
    )
    @wraps(command)
    def wrapped(
        *,
        wait_for_workers_s: float,
        patience_s: float,
        store: StoreSettings,
        cluster: ClusterSettings,
        **others: Any,
    ) -> Any:
        return command(
            store=replace(store, patience_s=patience_s),
            cluster=replace(cluster, wait_for_workers_s=wait_for_workers_s),
            **others,
        )

    return wrapped


def prices(command: Command) -> Command:
    """Add ``--prices``; the command gets a `headend.core.prices.Prices`."""
    return click.option(
        "--prices",
        default=DEFAULT_PRICES,
        show_default=True,
        metavar="NAME|FILE",
        callback=lambda _ctx, _param, value: load_prices(value),
        help="Prices of CPU, storage and requests: an example that comes with headend, or your own TOML file.",
    )(command)
