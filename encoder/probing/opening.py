"""Open masters safely, and select the picture among their streams.

A master is an untrusted file and may only be opened as a media container. Playlists, scripts and image sequences, which
refer to other files, are rejected before they are parsed. FFmpeg may only use the protocol that reads the master
itself.
"""

import errno
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags
from av.container import Flags, InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from encoder.probing import describing
from encoder.probing.stated_size import min_file_bytes
from encoder.sample_tables import read_part
from headend.core.errors import ConfigError, MasterError
from headend.core.media import Master
from headend.core.media.speakers import LAYOUTS, channel_count
from headend.core.settings import PictureChoice

CONTAINERS = "mov,matroska,webm,mxf,mpegts,mpeg,avi,nut,yuv4mpegpipe,gxf,flv,ivf"
"""FFmpeg's names of the containers that a master may have: those that hold media and refer to no other file."""
SOUND_CONTAINERS = f"{CONTAINERS},wav,w64,flac,ogg,aiff,caf,mp3,aac,ac3,eac3"
"""The same for files of which only the sound is used; includes formats that contain only sound."""
ANY_PICTURE = PictureChoice()
OPEN_TIMEOUT_S = 60
READ_TIMEOUT_S = 30
"""Timeouts for opening a master, and for reading one packet."""
_STATE_SIZE = frozenset({"matroska", "mxf", "avi", "wav", "w64", "aiff"})
"""FFmpeg's names of the containers whose header states the size of the file."""
_BOX_HEADER = struct.Struct(">I4s")
_HEAD_BYTES = 4096
"""Size of a request for the first bytes of a file."""


def input_options(input_url: str, containers: str = CONTAINERS) -> dict[str, str]:
    """The options with which FFmpeg opens a master, on its command line or through PyAV.

    Args:
        input_url: A path, or an ``http(s)`` URL such as S3's presigned ones.
        containers: FFmpeg's names of the containers that the master may have.
    """
    if not _is_remote(input_url):
        return {"format_whitelist": containers, "protocol_whitelist": "file"}
    return {
        "format_whitelist": containers,
        "protocol_whitelist": "http,https,tcp,tls",
        # S3 drops connections now and then. Without these options, that would end a read that takes hours.
        "reconnect": "1",
        "reconnect_on_network_error": "1",
        "reconnect_on_http_error": "429,5xx",
        "reconnect_delay_max": "8",
        "reconnect_max_retries": "3",
        # With open-ended requests, S3 would send and bill data that is not needed once the index is found.
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
    """Open a master, and turn FFmpeg's errors within the block into `MasterError`.

    Args:
        master: The file; named in errors.
        input_url: Where to read it, as for `probe`.
        containers: FFmpeg's names of the containers that the master may have.

    Raises:
        MasterError: It can't be reached or read.
    """
    # Opening a named pipe would block for ever, and a device never ends.
    if not _is_remote(input_url) and not Path(input_url).is_file():
        raise MasterError(f"there is no file {master.url}; give the path of a film")
    # Without the prefix, FFmpeg would parse colons and bars in a path as a protocol.
    location = input_url if _is_remote(input_url) else f"file:{input_url}"
    try:
        with av.open(
            location,
            "r",
            options=input_options(input_url, containers),
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
            metadata_errors="replace",  # accept metadata that are not valid UTF-8
        ) as container:
            # Don't generate missing times by looking ahead: FFmpeg's command line doesn't, and its frames would differ.
            container.flags &= ~Flags.gen_pts.value  # type: ignore[operator]  # a Flag in its stubs only
            for stream in container.streams.video:
                if stream.codec_context is not None:
                    # Cut off exactly what the stream says, as FFmpeg's command line does. By default, lines keep their
                    # alignment in memory, and up to 63 columns remain at the left.
                    stream.codec_context.flags |= CodecFlags.unaligned.value
            yield container
    except av.FFmpegError as error:
        # The error's text and cause contain the URL, which may contain a signature: don't pass them on.
        reason = _reason(error, location, containers)
        raise MasterError(f"{master.url} {reason}", ffmpeg=error.strerror) from None


def _reason(error: av.FFmpegError, location: str, containers: str) -> str:
    if isinstance(error, av.ArgumentError | av.InvalidDataError | av.EOFError):
        if _starts_like_mp4(location):
            return "has no usable index (moov box): it is cut short or was never finished; deliver it again, whole"
        if containers == SOUND_CONTAINERS:
            return "has no sound that can be read; deliver WAV, AIFF, CAF, FLAC, Ogg, AAC, AC-3, MP3, or a film"
        return (
            "is not a film that can be read; deliver MOV, MP4, MXF, Matroska, WebM, MPEG-TS, MPEG-PS, AVI, NUT or Y4M"
        )
    if isinstance(error, av.ExitError | av.TimeoutError):
        return "stopped answering; check the network and the store, then try again"
    if error.errno == errno.EPERM:
        # FFmpeg's demuxers return -1 for errors without a number of their own; a lack of permission is EACCES.
        return "is damaged, or of a kind that FFmpeg can't read to its end; deliver it again, in another container"
    return f"can't be read: {error.strerror}; check that it exists and is readable"


def check_complete(container: InputContainer, master: Master) -> None:
    """Reject a file that is shorter than its header says.

    Raises:
        MasterError: Its end is missing.
    """
    if container.format.name.partition(",")[0] in _STATE_SIZE:
        _check_size(container, master, min_file_bytes(_head(container.name)))


def check_samples_complete(container: InputContainer, master: Master) -> None:
    """Reject a MOV or MP4 that is shorter than the samples in its index, or in the fragments that were read.

    Raises:
        MasterError: Its end is missing.
    """
    if not container.format.name.startswith("mov,"):
        return
    entries = (entry for stream in container.streams for entry in stream.index_entries)
    end = max((entry.pos + entry.size for entry in entries), default=0)
    if end < container.size and not any(stream.frames for stream in container.streams):
        # In a file of fragments, the index of another one may follow.
        head = read_part(container.name, container.size, input_options(container.name), end, _BOX_HEADER.size)
        if len(head) == _BOX_HEADER.size and head[4:] == b"moof":
            end += _BOX_HEADER.unpack(head)[0]
    _check_size(container, master, end)


def _check_size(container: InputContainer, master: Master, needed_bytes: int) -> None:
    if 0 < container.size < needed_bytes:
        raise MasterError(
            f"{master.url} is cut short: {container.size} bytes of at least {needed_bytes}; deliver it again, whole"
        )


def _starts_like_mp4(location: str) -> bool:
    return _head(location)[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}


def _head(location: str) -> bytes:
    """The first bytes of a file; empty if they can't be read."""
    options = input_options(location, "data")
    if _is_remote(location):
        options["initial_request_size"] = str(_HEAD_BYTES)
    with (
        suppress(av.FFmpegError),
        av.open(location, "r", format="data", options=options, timeout=READ_TIMEOUT_S) as raw,
    ):
        return bytes(next(raw.demux()))
    return b""


@dataclass(frozen=True, slots=True)
class Selected:
    """The streams of a container that are used.

    Attributes:
        picture: The picture.
        pictures: Stream numbers of all pictures that could be selected.
        program: Number of the picture's program; None if there are no programs.
        programs: Numbers of all programs.
        streams: Numbers of the streams of the picture's program, and of those that are in no program.
    """

    picture: VideoStream
    pictures: tuple[int, ...]
    program: int | None
    programs: tuple[int, ...]
    streams: frozenset[int]


def pictures_of(container: InputContainer) -> list[VideoStream]:
    """The video streams of a container, without covers and thumbnails."""
    not_a_film = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & not_a_film]


def select(container: InputContainer, master: Master, choice: PictureChoice = ANY_PICTURE) -> Selected:
    """Select the picture of a film, and the sound and text of the same program; other streams are not read.

    Args:
        container: The open master.
        master: Named in errors.
        choice: The user's choice.

    Raises:
        MasterError: There is no picture that can be decoded.
        ConfigError: The chosen picture does not exist.
    """
    pictures = pictures_of(container)
    programs = describing.programs(describing.describe(container))
    if choice.program is not None:
        if choice.program not in programs:
            raise ConfigError(f"--program {choice.program}: {master.url} has {_list_numbers('programs', programs)}")
        pictures = [stream for stream in pictures if stream.index in programs[choice.program]]
    if choice.video is not None:
        existing = [stream.index for stream in pictures]
        pictures = [stream for stream in pictures if stream.index == choice.video]
        if not pictures:
            raise ConfigError(f"--video {choice.video}: {master.url} has {_list_numbers('pictures', existing)}")
    if not pictures:
        where = "" if choice.program is None else f" in program {choice.program}"
        raise MasterError(f"{master.url} has no picture{where}; deliver a file with a video track")
    picture = next((stream for stream in pictures if stream.disposition & Disposition.default), pictures[0])
    if picture.codec_context is None:
        raise MasterError(f"{master.url} has a picture in a codec that FFmpeg can't decode; deliver another codec")
    # One thread: a decoder reads ahead by one packet for each thread, and only a few frames are needed.
    picture.codec_context.thread_count = 1
    program = choice.program
    if program is None:
        program = next((number for number, streams in programs.items() if picture.index in streams), None)
    program_streams = frozenset() if program is None else frozenset(programs[program])
    others = {stream for streams in programs.values() for stream in streams} - program_streams
    same_program = frozenset(stream.index for stream in container.streams) - others
    for stream in container.streams:
        if stream is not picture and (stream.type not in ("audio", "subtitle") or stream.index not in same_program):
            stream.discard = Discard.all
    selectable = tuple(stream.index for stream in pictures if stream.index in same_program)
    return Selected(picture, selectable, program, tuple(programs), same_program)


def _list_numbers(what: str, numbers: Iterable[int]) -> str:
    return f"{what} {', '.join(map(str, numbers))}" if numbers else f"no {what}"


def time_base_of(stream: Stream) -> Fraction:
    """Seconds of one tick of a stream's clock."""
    # FFmpeg's demuxers always set it.
    return stream.time_base or Fraction(1, av.time_base)


def avoid_custom_layout(stream: AudioStream) -> None:
    """Replace a custom channel layout by a number of channels, since decoding such a stream with PyAV may crash.

    For a custom order of channels, PyAV frees memory that belongs to FFmpeg. The order of the decoded channels is the
    same without a layout.
    """
    _, layout = describing.sound(stream.container, stream.index)
    if channel_count(layout) and layout not in LAYOUTS:
        stream.codec_context.layout = f"{channel_count(layout)}C"
