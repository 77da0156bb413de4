"""Probing: what a master is, and when each of its frames is shown, read with PyAV and without decoding it.

A master is somebody else's file. It may be opened as a container of media only: playlists, scripts and image
sequences, which name further files, are refused before they are parsed, and no protocol but the one that leads to the
file itself is at hand.
"""

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, compress, islice, pairwise
from math import ceil
from pathlib import Path
from statistics import median_low
from threading import Lock

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from langcodes import standardize_tag
from langcodes.tag_parser import LanguageTagError

from encoder.sample_tables import composition_offsets
from headend.errors import MasterError
from headend.media import (
    AudioTrack,
    Colour,
    ContentLight,
    Crop,
    FieldOrder,
    FrameIndex,
    Master,
    MasteringDisplay,
    Probe,
    SubtitleTrack,
    VideoTrack,
)

CONTAINERS = "mov,matroska,webm,mxf,mpegts,mpeg,avi,nut,yuv4mpegpipe,gxf,flv,ivf"
"""FFmpeg's names of the formats that a master may be in: those that hold media and name no other file."""

STANDARD_RATES = tuple(
    sorted(
        [Fraction(rate) for rate in (12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)]
        + [Fraction(rate * 1000, 1001) for rate in (12, 15, 24, 30, 48, 60, 120, 240)]
        + [Fraction(25, 2)]
    )
)
"""Frame rates that equipment makes: SMPTE ST 2036-1 and ST 274, their halves and doubles, and 240 of slow motion."""

OPEN_TIMEOUT_S = 60
READ_TIMEOUT_S = 30
"""How long one packet may take; a master in a store that stalls longer is given up."""

REORDER_FRAMES = 16
"""How far a frame may be shown from its place in decoding order: the picture buffer of H.264 and HEVC."""

_CAPTIONED = frozenset({"h264", "hevc", "mpeg2video"})
"""Codecs that carry captions beside their frames."""
_CAPTION_FRAMES = 24
"""How many frames are looked at for captions: broadcasters send them with each, empty ones where nobody speaks."""

_REFRESH_PACKETS = 300
"""How many packets may go by before a whole picture; encoders refresh one within a GOP."""

_INDEXED_HEAD_FRAMES = 3
"""Frames to decode before a container's index is believed: few, since those of masters are large."""
_HEAD_FRAMES = 8
"""Frames to decode before a scan of packets is believed."""

# ITU-T H.273, tables 2, 3 and 4, in FFmpeg's words. What is missing here is unknown to FFmpeg, too.
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp",
    15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}
_DESCRIBING = Lock()
"""Held while FFmpeg's log level, which all threads share, is turned up."""
_CHROMA_LOCATION = re.compile(r"[(, ](left|center|topleft|top|bottomleft|bottom)[,)]")
_CROPPING = re.compile(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)")

# AVFieldOrder. The comments in FFmpeg's header notwithstanding, 4 and 5 say which of two interleaved fields is shown
# first: RFC 9559, section 5.1.4.1.28.2, and QuickTime's "fiel" 9 and 14.
_FIELD_ORDERS = {
    2: FieldOrder.TOP_FIRST,
    3: FieldOrder.BOTTOM_FIRST,
    4: FieldOrder.TOP_FIRST,
    5: FieldOrder.BOTTOM_FIRST,
}


@dataclass(frozen=True, slots=True)
class _Packet:
    """The times of one packet of the picture, in the stream's ticks."""

    pts_ticks: int | None
    dts_ticks: int | None
    keyframe: bool
    discard: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """What reading a master has shown, next to what its header says."""

    frames: FrameIndex
    first: VideoFrame
    audio_ends_ticks: dict[int, int] = field(default_factory=dict)


def input_options(input_url: str) -> dict[str, str]:
    """The options with which FFmpeg may open a master, on its command line or through PyAV.

    Args:
        input_url: A path, or an ``http(s)`` URL such as S3's presigned ones.
    """
    if not _is_remote(input_url):
        return {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return {
        "format_whitelist": CONTAINERS,
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


def probe(master: Master, input_url: str) -> Probe:
    """Look at a master: its tracks, and when each frame is shown.

    MOV and MP4 files are known by their own index, so that of a film in a store hardly more than the index and the
    first frame is read. Other containers are read through once. Tracks that FFmpeg can't decode are left out.

    Args:
        master: The file; named in errors.
        input_url: Where to read it: a path, or an ``http(s)`` URL, which may hold a secret and appears in no error.

    Raises:
        MasterError: It can't be reached or read, is cut short, or has no picture.
    """
    found = _looked_at(master, input_url)
    track = found.video
    if track is None or track.codec not in _CAPTIONED:
        return found
    with opened(master, input_url) as container:
        stream = picture_of(container, master)
        for audio in container.streams.audio:
            audio.discard = Discard.all
        captions = _has_captions(container, stream)
        frames = _refreshed(container, stream, track.frames) if track.codec == "h264" else track.frames
    return replace(found, video=replace(track, captions=captions, frames=frames))


def _looked_at(master: Master, input_url: str) -> Probe:
    # From the cheapest way to the one that always works. Each gets a fresh container: seeking back is not exact.
    for look in (_by_container_index, _by_packets):
        with opened(master, input_url) as container:
            stream = picture_of(container, master)
            if seen := look(container, stream, master):
                return _describe(master, container, stream, seen)
    with opened(master, input_url) as container:
        stream = picture_of(container, master)
        return _describe(master, container, stream, _by_decoding(container, stream, master))


# --- opening ------------------------------------------------------------------------------------------------------


def _is_remote(input_url: str) -> bool:
    return input_url.startswith(("http://", "https://"))


@contextmanager
def opened(master: Master, input_url: str) -> Iterator[InputContainer]:
    """Open a master, and turn whatever FFmpeg says against it, now or later, into a MasterError.

    Args:
        master: The file; named in errors.
        input_url: Where to read it, as for `probe`.

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
            options=input_options(input_url),
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
            metadata_errors="replace",  # a title in no known alphabet is no reason to refuse a film
        ) as container:
            # FFmpeg's command line does not invent missing times by looking ahead: nor may we, or frames differ.
            container.flags &= ~Flags.gen_pts.value  # type: ignore[operator]  # a Flag in its stubs only
            yield container
    except av.FFmpegError as error:
        # Its text and its chain hold the URL, which may hold a signature: neither leaves this function.
        reason = _reason(error, location)
        raise MasterError(f"{master.url} {reason}", ffmpeg=error.strerror) from None


def _reason(error: av.FFmpegError, location: str) -> str:
    if isinstance(error, av.ArgumentError | av.InvalidDataError | av.EOFError):
        if _begins_like_mp4(location):
            return "has no usable index (moov box): it is cut short or was never finished; deliver it again, whole"
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


def picture_of(container: InputContainer, master: Master) -> VideoStream:
    """The stream that is a film's picture; of the others, only sound is still read.

    Raises:
        MasterError: There is none that can be decoded.
    """
    not_a_film = Disposition.attached_pic | Disposition.timed_thumbnails
    pictures = [stream for stream in container.streams.video if not stream.disposition & not_a_film]
    if not pictures:
        raise MasterError(f"{master.url} has no picture; deliver a file with a video track")
    picture = next((stream for stream in pictures if stream.disposition & Disposition.default), pictures[0])
    if picture.codec_context is None:
        raise MasterError(f"{master.url} has a picture in a codec that FFmpeg can't decode; deliver it in another")
    # One thread: a decoder with many reads a packet ahead for each, and here one frame is wanted.
    picture.codec_context.thread_count = 1
    for stream in container.streams:
        if stream is not picture and stream.type != "audio":
            stream.discard = Discard.all
    return picture


# --- the frame index ----------------------------------------------------------------------------------------------


def _by_container_index(container: InputContainer, picture: VideoStream, master: Master) -> _Seen | None:
    """Take the frame index from MOV's sample tables and the packets up to the first frame; None where they don't do."""
    # An edit list may leave samples out. More entries than samples, or no samples: there are fragments behind. More
    # entries than bytes: an attempt at our memory.
    plausible = 0 < len(picture.index_entries) <= min(picture.frames, container.size)
    if not container.format.name.startswith("mov,") or not plausible:
        return None
    for stream in container.streams.audio:
        stream.discard = Discard.all
    entries = list(picture.index_entries)
    media_end = max(entry.pos + entry.size for entry in entries)
    if container.size < media_end:
        raise MasterError(
            f"{master.url} is cut short: {container.size} bytes of at least {media_end}; deliver it again, whole"
        )
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    for packet, frames in _decoded(container, picture, frame_limit=_INDEXED_HEAD_FRAMES):
        packets += [packet] if packet else []
        head += frames
        if len(head) >= _INDEXED_HEAD_FRAMES:
            break
    if not head or head[0].pts is None:
        return None
    first, start = head[0], head[0].pts
    offsets: Sequence[int] | None = (0,) * len(entries)
    if picture.codec_context.has_b_frames:
        offsets = composition_offsets(
            container.name, container.size, input_options(container.name), picture.id, [entry.size for entry in entries]
        )
    if offsets is None or packets[0].pts_ticks is None:
        return None
    # Edit lists and negative offsets move them all alike.
    shift = packets[0].pts_ticks - entries[0].timestamp - offsets[0]
    times = [entry.timestamp + offset + shift for entry, offset in zip(entries, offsets, strict=True)]
    if [packet.pts_ticks for packet in packets] != times[: len(packets)]:
        return None
    kept = [not entry.is_discard for entry in entries]
    # Leading frames without the pictures they refer to are never shown.
    shown = [keep and time >= start for keep, time in zip(kept, times, strict=True)]
    pts = sorted(compress(times, shown))
    if [frame.pts for frame in head] != pts[: len(head)] or any(after <= before for before, after in pairwise(pts)):
        return None  # such as fields that are samples of their own: the decoder is right
    # From a keyframe on, all is there that is shown no sooner than itself, and was not read before it.
    numbers = map(max, (bisect_left(pts, time) for time in times), accumulate(shown, initial=0))
    dts = {number: entry.timestamp for number, entry in zip(numbers, entries, strict=False) if entry.is_keyframe}
    late = min(compress(times, kept)) - entries[kept.index(True)].timestamp
    return _Seen(_indexed(pts, _sought_in_mov(dts, late), "container index"), first)


def _by_packets(container: InputContainer, picture: VideoStream, master: Master) -> _Seen | None:
    """Read all packets and decode the first few; None where packets and frames do not match."""
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    audio_ends: dict[int, int] = {}
    for packet, frames in _decoded(container, picture, frame_limit=_HEAD_FRAMES, audio_ends_ticks=audio_ends):
        packets += [packet] if packet else []
        head += frames
    if not head:
        raise _no_frames(master)
    start = head[0].pts
    if start is None or any(p.pts_ticks is None for p in packets):
        return None
    # Leading frames without the pictures they refer to are never shown; nor are those that an edit list cuts off.
    shown = [p for p in packets if not p.discard and p.pts_ticks is not None and p.pts_ticks >= start]
    pts = sorted(p.pts_ticks for p in shown if p.pts_ticks is not None)
    if [frame.pts for frame in head] != pts[: len(head)]:
        return None
    keyframes = {bisect_left(pts, p.pts_ticks): p for p in shown if p.keyframe and p.pts_ticks is not None}
    return _Seen(_indexed(pts, _sought(keyframes, shown, container, picture), "packets"), head[0], audio_ends)


def _by_decoding(container: InputContainer, picture: VideoStream, master: Master) -> _Seen:
    """Decode everything: for AVI with B-frames and the like, whose packets don't say when they are shown."""
    picture.codec_context.thread_count = 0
    first: VideoFrame | None = None
    pts: list[int] = []
    keyframes: dict[int, int] = {}
    audio_ends: dict[int, int] = {}
    step = round(1 / (_declared_rate(picture) * _time_base(picture)))
    for _, frames in _decoded(container, picture, frame_limit=None, audio_ends_ticks=audio_ends):
        for frame in frames:
            first = first or frame
            # FFmpeg's own order of preference; AVI has decoding times only.
            known = frame.pts if frame.pts is not None else frame.dts
            step = pts[-1] - pts[-2] if len(pts) > 1 else step
            pts.append(known if known is not None else pts[-1] + step if pts else 0)
            if frame.key_frame:
                keyframes[len(pts) - 1] = pts[-1] - REORDER_FRAMES * step
    if first is None:
        raise _no_frames(master)
    return _Seen(_indexed(sorted(pts), keyframes, "packets"), first, audio_ends)


def _indexed(pts: Sequence[int], seek_ticks: Mapping[int, int], origin: str) -> FrameIndex:
    """The index, from the time to seek to for each keyframe; decoding can always start at the first frame."""
    known = sorted({0: pts[0], **{number: ticks for number, ticks in seek_ticks.items() if number < len(pts)}}.items())
    return FrameIndex(tuple(pts), tuple(n for n, _ in known), tuple(ticks for _, ticks in known), origin)


def _sought(
    keyframes: Mapping[int, _Packet], shown: Sequence[_Packet], container: InputContainer, picture: VideoStream
) -> dict[int, int]:
    """What each container's demuxer must be asked for, so that it goes to a keyframe, by the number of its frame.

    Source: in FFmpeg's ``fftools/ffmpeg_demux.c``, ``dts_heuristic``.
    """
    pts = [packet.pts_ticks or 0 for packet in keyframes.values()]
    dts = [packet.dts_ticks for packet in keyframes.values()]
    if container.format.name.startswith("matroska"):
        # It looks for presentation times, but where frames are reordered the command line goes back by 3/23 s, and so
        # to the keyframe before: that much is added, as far as the next keyframe allows.
        late = ceil(Fraction(3, 23) / _time_base(picture))
        ends = (after - 1 for after in (*pts[1:], pts[-1] + late + 1)) if pts else ()
        times = [min(at + late, end) for at, end in zip(pts, ends, strict=True)]
    elif container.format.name.startswith("mov,"):
        first_dts = min((p.dts_ticks for p in shown if p.dts_ticks is not None), default=0)
        late = min(p.pts_ticks for p in shown if p.pts_ticks is not None) - first_dts
        known = (at - late if decoded is None else decoded for at, decoded in zip(pts, dts, strict=True))
        return _sought_in_mov(dict(zip(keyframes, known, strict=True)), late)
    else:
        # Others, such as MPEG-TS's, go to the packet of that decoding time, keyframe or not.
        reorder = round(REORDER_FRAMES / (_declared_rate(picture) * _time_base(picture)))
        times = [at - reorder if known is None else known for at, known in zip(pts, dts, strict=True)]
    return dict(zip(keyframes, times, strict=True))


def _sought_in_mov(dts_ticks: Mapping[int, int], late_ticks: int) -> dict[int, int]:
    """What MOV's demuxer must be asked for, from the decoding time of each keyframe, by the number of its frame.

    It looks for decoding times, and takes what it is asked for to be as much later as an edit list has moved them: by
    ``late_ticks``, the delay of the first frame, or not at all. So it is asked for a time that is right in both cases;
    where keyframes are so near to each other that there is none, for one that leads to a keyframe further ahead.

    Source: FFmpeg's ``mov_seek_stream`` and ``mov_fix_index``.
    """
    times = (*dts_ticks.values(), max(dts_ticks.values(), default=0) + 2 * late_ticks)
    sought = (min(at + late_ticks, (at + after) // 2) for at, after in pairwise(times))
    return dict(zip(dts_ticks, sought, strict=True))


def _decoded(
    container: InputContainer,
    picture: VideoStream,
    *,
    frame_limit: int | None = 1,
    audio_ends_ticks: dict[int, int] | None = None,
) -> Iterator[tuple[_Packet | None, list[VideoFrame]]]:
    """Walk the picture's packets with the frames that come out, until ``frame_limit`` frames have been decoded.

    Packets of sound only leave their end in ``audio_ends_ticks``.
    """
    decoded = 0
    wanted = [picture, *(container.streams.audio if audio_ends_ticks is not None else ())]
    for packet in container.demux(wanted):
        if packet.stream_index != picture.index:
            if audio_ends_ticks is not None and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                audio_ends_ticks[packet.stream_index] = max(end, audio_ends_ticks.get(packet.stream_index, end))
            continue
        frames: list[VideoFrame] = []
        if frame_limit is None or decoded < frame_limit:
            # The encoder's decoder steps over damaged packets, too.
            with suppress(av.FFmpegError):
                frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
            decoded += len(frames)
        # The last packet is empty and flushes the decoder.
        times = _Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard) if packet.size else None
        yield times, frames


def _has_captions(container: InputContainer, picture: VideoStream) -> bool:
    """Whether CEA-608 lies beside one of the first frames.

    Source: ATSC A/53, part 4, table 6.10: of each triple, a valid flag and a type; 0 and 1 are the two fields of 608.
    """
    frames = (frame for _, some in _decoded(container, picture, frame_limit=_CAPTION_FRAMES) for frame in some)
    for frame in islice(frames, _CAPTION_FRAMES):
        data = frame.side_data.get("A53_CC")
        if isinstance(data, SideData) and any(byte & 0b111 in (0b100, 0b101) for byte in bytes(data)[::3]):
            return True
    return False


def _refreshed(container: InputContainer, picture: VideoStream, index: FrameIndex) -> FrameIndex:
    """Put keyframes where the picture is whole: with intra refresh, that is some frames behind what is called one.

    Source: ITU-T H.264, section D.2.8, ``recovery_frame_cnt``.
    """
    if len(index.keyframes) < 2:
        return index
    number, pts = index.keyframes[1], index.pts_ticks
    container.seek(index.seek_ticks[1], stream=picture)
    packets = islice(_decoded(container, picture, frame_limit=None), _REFRESH_PACKETS)
    times = (frame.pts for _, frames in packets for frame in frames if frame.pts is not None)
    seen = next((time for time in times if time >= pts[number]), pts[number])
    late = bisect_left(pts, seen) - number
    known = {n + late: ticks for n, ticks in zip(index.keyframes[1:], index.seek_ticks[1:], strict=True)}
    return _indexed(pts, known, index.origin) if late else index


def _no_frames(master: Master) -> MasterError:
    return MasterError(f"{master.url} holds no frame that can be decoded; it is empty or damaged: deliver it again")


# --- frame rate ---------------------------------------------------------------------------------------------------


def _declared_rate(picture: VideoStream) -> Fraction:
    return picture.average_rate or picture.guessed_rate or Fraction(25)


def frame_rate(pts_ticks: Sequence[int], time_base: Fraction, declared: Fraction) -> tuple[Fraction, bool]:
    """Find the frame rate that the times of the frames follow.

    Args:
        pts_ticks: When each frame is shown, ascending, at least one.
        time_base: Seconds of a tick.
        declared: What the container says; decides between standard rates that fit a short film equally well.

    Returns:
        The rate, one of `STANDARD_RATES` wherever one fits, and whether it is constant: whether each frame lies within
        half a frame of the grid that starts with the first. Where it is not, the rate is that of most frames.
    """
    span = pts_ticks[-1] - pts_ticks[0]
    if span <= 0:
        return _nearest(declared, Fraction(1, 1000), declared) or declared, len(pts_ticks) == 1
    mean = (len(pts_ticks) - 1) / (span * time_base)
    # Both ends are rounded to ticks, and some write 29.97 or 23.98 when they mean 30000/1001 or 24000/1001.
    standard = _nearest(mean, Fraction(3, 2 * span) + Fraction(3, 10_000), declared)
    for rate in (standard, mean.limit_denominator(1001), mean):
        if rate and _follows(pts_ticks, time_base, rate):
            return rate, True
    step = median_low([after - before for before, after in pairwise(pts_ticks)])
    typical = 1 / (max(step, 1) * time_base)
    tolerance = Fraction(1, 100) + Fraction(1, max(step, 1))
    return _nearest(typical, tolerance, declared) or mean.limit_denominator(1001), False


def _nearest(rate: Fraction, tolerance: Fraction, declared: Fraction) -> Fraction | None:
    near = [standard for standard in STANDARD_RATES if abs(standard / rate - 1) <= tolerance]
    # Of those that are near enough, the one that the container means, and then the one nearest to what was measured.
    return min(near, key=lambda s: (abs(s / declared - 1) > Fraction(3, 10_000), abs(s - rate)), default=None)


def _follows(pts_ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    tick, frame = time_base.numerator * rate.numerator, time_base.denominator * rate.denominator
    start = pts_ticks[0]
    return all(2 * abs((pts - start) * tick - number * frame) <= frame for number, pts in enumerate(pts_ticks))


# --- what the header says -----------------------------------------------------------------------------------------


def _describe(master: Master, container: InputContainer, picture: VideoStream, seen: _Seen) -> Probe:
    decodable = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return Probe(
        master=master,
        container=container.format.name,
        duration_s=Fraction(container.duration or 0, av.time_base),
        video=_video_track(container, picture, seen),
        audio=tuple(audio_track(stream, seen.audio_ends_ticks.get(stream.index)) for stream in decodable),
        subtitles=tuple(_subtitle_track(stream) for stream in container.streams.subtitles),
    )


def _video_track(container: InputContainer, picture: VideoStream, seen: _Seen) -> VideoTrack:
    context, first, frames = picture.codec_context, seen.first, seen.frames
    description = _description(container, picture)
    rate, constant = frame_rate(frames.pts_ticks, _time_base(picture), _declared_rate(picture))
    return VideoTrack(
        index=picture.index,
        codec=context.codec.canonical_name,
        profile=picture.profile or "",
        width_px=first.width,
        height_px=first.height,
        sample_aspect_ratio=picture.sample_aspect_ratio or Fraction(1),
        # FFmpeg turns counter-clockwise.
        rotation_deg=-90 * round(first.rotation / 90) % 360,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        colour=Colour(
            primaries=_named(_PRIMARIES, context.color_primaries, first.color_primaries),
            transfer=_named(_TRANSFERS, context.color_trc, first.color_trc),
            matrix=_named(_MATRICES, context.colorspace, first.colorspace),
            range=_named(_RANGES, context.color_range, first.color_range),
            chroma_location=_chroma_location(description),
        ),
        mastering_display=_mastering_display(first),
        content_light=_content_light(first),
        field_order=_field_order(context.field_order, first),
        time_base=_time_base(picture),
        frame_rate=rate,
        constant_rate=constant,
        intra_only=len(frames.keyframes) == len(frames.pts_ticks),
        bit_rate_bps=picture.bit_rate or 0,
        frames=frames,
        clean_aperture=_clean_aperture(description, first),
    )


def audio_track(stream: AudioStream, end_ticks: int | None = None) -> AudioTrack:
    """Tell of a programme of sound what its header says.

    Args:
        stream: The programme.
        end_ticks: Where it ends, if that is known better than from the header.
    """
    context, time_base = stream.codec_context, _time_base(stream)
    start = stream.start_time or 0
    duration = end_ticks - start if end_ticks is not None else stream.duration or 0
    return AudioTrack(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=stream.profile or "",
        sample_rate_hz=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
        start_s=start * time_base,
        duration_s=duration * time_base,
        bit_rate_bps=stream.bit_rate or 0,
    )


def _subtitle_track(stream: SubtitleStream) -> SubtitleTrack:
    return SubtitleTrack(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name if stream.codec_context else "unknown",
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
    )


def _time_base(stream: Stream) -> Fraction:
    # None only where the container leaves it out, which FFmpeg's demuxers never do.
    return stream.time_base or Fraction(1, av.time_base)


def _language(stream: Stream) -> str:
    try:
        return standardize_tag(stream.metadata.get("language") or "und")
    except LanguageTagError:
        return "und"


def _roles(stream: Stream) -> tuple[str, ...]:
    return tuple(
        sorted(d.name for d in Disposition if d.name and d in stream.disposition and d is not Disposition.default)
    )


def _named(names: dict[int, str], *values: int) -> str:
    return next((names[value] for value in values if value in names), "unknown")


def _field_order(declared: int, first: VideoFrame) -> FieldOrder:
    if declared in _FIELD_ORDERS:
        return _FIELD_ORDERS[declared]
    # MXF declares interlaced ProRes progressive; its frames know better. PyAV does not say which of their fields comes
    # first; FFmpeg's deinterlacers take the top one when left alone.
    return FieldOrder.TOP_FIRST if first.interlaced_frame else FieldOrder.PROGRESSIVE


def _mastering_display(frame: VideoFrame) -> MasteringDisplay | None:
    """Read libavutil's ``AVMasteringDisplayMetadata``: ten rationals and two flags."""
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if not isinstance(data, SideData):
        return None
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", bytes(data))
    if not (has_primaries and has_luminance) or 0 in numbers[1::2]:
        return None
    red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, darkest, brightest = (
        Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)
    )
    return MasteringDisplay(
        (red_x, red_y), (green_x, green_y), (blue_x, blue_y), (white_x, white_y), darkest, brightest
    )


def _content_light(frame: VideoFrame) -> ContentLight | None:
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if not isinstance(data, SideData):
        return None
    levels = ContentLight(*struct.unpack_from("=2I", bytes(data)))
    return levels if levels.max_cll_nits or levels.max_fall_nits else None


def _description(container: InputContainer, picture: VideoStream) -> str:
    """FFmpeg's own description of a stream, which tells what PyAV has no attributes for."""
    with _DESCRIBING:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        av.logging.set_libav_level(av.logging.VERBOSE)
        try:
            description = container.dumps_format()  # type: ignore[attr-defined]  # missing in its stubs only
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(level)
    found = re.search(rf"Stream #0:{picture.index}\b.*(\n(?! *Stream #).*)*", description)
    return found[0] if found else ""


def _chroma_location(description: str) -> str:
    """Where chroma samples lie."""
    found = _CHROMA_LOCATION.search(description.partition("\n")[0])
    return found[1] if found else "unknown"


def _clean_aperture(description: str, first: VideoFrame) -> Crop | None:
    """What QuickTime's ``clap`` or Matroska's ``PixelCrop…`` leave of the picture.

    Source:
        ISO/IEC 14496-12, section 12.1.4; RFC 9559, section 5.1.4.1.28.8.
    """
    found = _CROPPING.search(description)
    if found is None:
        return None
    left, right, top, bottom = map(int, found.groups())
    width_px, height_px = first.width - left - right, first.height - top - bottom
    return Crop(width_px, height_px, left, top) if min(width_px, height_px) > 0 else None
