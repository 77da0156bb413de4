"""Opening masters: what FFmpeg may read of them, and which of their streams is the picture.

A master is another user's file. It may be opened as a container of media only: playlists, scripts and image
sequences, which name further files, are refused before they are parsed, and no protocol but the one that leads to the
file itself is available.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import Flags, InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from encoder.probing import describing
from headend.core.errors import ConfigError, MasterError
from headend.core.media import Master
from headend.core.settings import PictureChoice

CONTAINERS = "mov,matroska,webm,mxf,mpegts,mpeg,avi,nut,yuv4mpegpipe,gxf,flv,ivf"
"""FFmpeg's names of the formats that a master may be in: those that hold media and name no other file."""
SOUND_CONTAINERS = f"{CONTAINERS},wav,w64,flac,ogg,aiff,caf,mp3,aac,ac3,eac3"
"""The same of files whose sound alone is wanted, which may be in formats that hold nothing else."""
ANY_PICTURE = PictureChoice()
OPEN_TIMEOUT_S = 60
READ_TIMEOUT_S = 30
"""How long one packet may take; a master in a store that stalls longer is given up."""


def input_options(input_url: str, containers: str = CONTAINERS) -> dict[str, str]:
    """The options with which FFmpeg may open a master, on its command line or through PyAV.

    Args:
        input_url: A path, or an ``http(s)`` URL such as S3's presigned ones.
        containers: The formats that it may be in.
    """
    if not _is_remote(input_url):
        return {"format_whitelist": containers, "protocol_whitelist": "file"}
    return {
        "format_whitelist": containers,
        "protocol_whitelist": "http,https,tcp,tls",
        # A store drops connections now and then; without these a read of two hours dies of one.
        "reconnect": "1",
        "reconnect_on_network_error": "1",
        "reconnect_on_http_error": "429,5xx",
        "reconnect_delay_max": "8",
        "reconnect_max_retries": "3",
        # A request without an end makes a store send, and bill, what nobody reads once the index has been found.
        "initial_request_size": str(256 * 1024),
        "request_size": str(1024 * 1024),
        "multiple_requests": "1",
        # Microseconds without a byte before a connection counts as dead.
        "rw_timeout": str(READ_TIMEOUT_S * 1_000_000),
    }


def _is_remote(input_url: str) -> bool:
    return input_url.startswith(("http://", "https://"))


@contextmanager
def opened(master: Master, input_url: str, containers: str = CONTAINERS) -> Iterator[InputContainer]:
    """Open a master, and turn whatever FFmpeg says against it, now or later, into a MasterError.

    Args:
        master: The file; named in errors.
        input_url: Where to read it, as for `probe`.
        containers: The formats that it may be in.

    Raises:
        MasterError: It can't be reached or read.
    """
    # A named pipe would block for ever, and a device never end.
    if not _is_remote(input_url) and not Path(input_url).is_file():
        raise MasterError(f"there is no file {master.url}; give the path of a film")
    # The prefix keeps colons and bars in a path from being taken for a protocol.
    location = input_url if _is_remote(input_url) else f"file:{input_url}"
    try:
        with av.open(
            location,
            "r",
            options=input_options(input_url, containers),
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
            metadata_errors="replace",  # a title in no known alphabet is no reason to refuse a film
        ) as container:
            # FFmpeg's command line does not invent missing times by looking ahead: nor may we, or frames differ.
            container.flags &= ~Flags.gen_pts.value  # type: ignore[operator]  # a Flag in its stubs only
            yield container
    except av.FFmpegError as error:
        # Its text and its chain hold the URL, which may hold a signature: neither leaves this function.
        reason = _reason(error, location, containers)
        raise MasterError(f"{master.url} {reason}", ffmpeg=error.strerror) from None


def _reason(error: av.FFmpegError, location: str, containers: str) -> str:
    if isinstance(error, av.ArgumentError | av.InvalidDataError | av.EOFError):
        if _begins_like_mp4(location):
            return "has no usable index (moov box): it is cut short or was never finished; deliver it again, whole"
        if containers == SOUND_CONTAINERS:
            return "holds no sound that can be read; deliver WAV, AIFF, CAF, FLAC, Ogg, AAC, AC-3, MP3, or a film"
        return (
            "is not a film that can be read; deliver MOV, MP4, MXF, Matroska, WebM, MPEG-TS, MPEG-PS, AVI, NUT or Y4M"
        )
    if isinstance(error, av.ExitError | av.TimeoutError):
        return "stopped answering; check the network and the store, then try again"
    return f"can't be read: {error.strerror}; check that it is there and may be read"


def _begins_like_mp4(location: str) -> bool:
    options = {"protocol_whitelist": input_options(location)["protocol_whitelist"]}
    with (
        suppress(av.FFmpegError),
        av.open(location, "r", format="data", options=options, timeout=READ_TIMEOUT_S) as raw,
    ):
        return bytes(next(raw.demux()))[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
    return False


@dataclass(frozen=True, slots=True)
class Selected:
    """What is read of a container.

    Attributes:
        picture: Its picture.
        pictures: Stream numbers of all pictures that could be it.
        program: Number of its program; None where there are no programs.
        programs: Numbers of all programs.
        streams: Numbers of the streams that belong to it.
    """

    picture: VideoStream
    pictures: tuple[int, ...]
    program: int | None
    programs: tuple[int, ...]
    streams: frozenset[int]


def pictures_of(container: InputContainer) -> list[VideoStream]:
    """The pictures of a container that may be a film's: no covers and no thumbnails."""
    not_a_film = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & not_a_film]


def select(container: InputContainer, master: Master, choice: PictureChoice = ANY_PICTURE) -> Selected:
    """Pick the picture of a film and the streams that go with it; of all others nothing is read any more.

    Args:
        container: The open master.
        master: Named in errors.
        choice: Which picture is wanted.

    Raises:
        MasterError: There is none that can be decoded.
        ConfigError: The one that is wanted is not there.
    """
    pictures = pictures_of(container)
    programs = describing.programs(describing.describe(container))
    if choice.program is not None:
        if choice.program not in programs:
            raise ConfigError(f"--program {choice.program}: {master.url} has {_listed('programs', programs)}")
        pictures = [stream for stream in pictures if stream.index in programs[choice.program]]
    if choice.video is not None:
        there = [stream.index for stream in pictures]
        pictures = [stream for stream in pictures if stream.index == choice.video]
        if not pictures:
            raise ConfigError(f"--video {choice.video}: {master.url} has {_listed('pictures', there)}")
    if not pictures:
        where = "" if choice.program is None else f" in program {choice.program}"
        raise MasterError(f"{master.url} has no picture{where}; deliver a file with a video track")
    picture = next((stream for stream in pictures if stream.disposition & Disposition.default), pictures[0])
    if picture.codec_context is None:
        raise MasterError(f"{master.url} has a picture in a codec that FFmpeg can't decode; deliver it in another")
    # One thread: a decoder with many reads a packet ahead for each, and here one frame is wanted.
    picture.codec_context.thread_count = 1
    program = choice.program
    if program is None:
        program = next((number for number, streams in programs.items() if picture.index in streams), None)
    # What belongs to no program, or to this one, too.
    own = frozenset() if program is None else frozenset(programs[program])
    others = {stream for streams in programs.values() for stream in streams} - own
    mine = frozenset(stream.index for stream in container.streams) - others
    for stream in container.streams:
        if stream is not picture and (stream.type not in ("audio", "subtitle") or stream.index not in mine):
            stream.discard = Discard.all
    alike = tuple(stream.index for stream in pictures if stream.index in mine)
    return Selected(picture, alike, program, tuple(programs), mine)


def _listed(what: str, numbers: Iterable[int]) -> str:
    return f"{what} {', '.join(map(str, numbers))}" if numbers else f"no {what}"


def time_base_of(stream: Stream) -> Fraction:
    """Seconds of one tick of a stream's clock."""
    # None only where the container leaves it out, which FFmpeg's demuxers never do.
    return stream.time_base or Fraction(1, av.time_base)
