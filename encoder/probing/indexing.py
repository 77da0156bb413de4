"""The frame index: when each frame of a master is shown, and where decoding can start.

From the cheapest way to the one that always works: the container's own index, a scan of packets, decoding everything.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, compress, islice, pairwise
from math import ceil
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing.captions import Watcher
from encoder.probing.formats import FormatFrom, Formats, changes_format, in_order
from encoder.probing.opening import input_options, time_base_of
from encoder.probing.packets import by_index, note_sound
from encoder.probing.rates import declared_rate
from encoder.sample_tables import read_movie
from encoder.timelines import restarts
from encoder.timelines.spans import PacketTimes
from headend.core.errors import MasterError
from headend.core.media import FrameIndex, Master

REORDER_FRAMES = 16
"""How far a frame may be shown from its place in decoding order: the picture buffer of H.264 and HEVC."""
_REFRESH_PACKETS = 300
"""How many packets may go by before a whole picture; encoders refresh one within a GOP."""
_INDEXED_HEAD_FRAMES = 3
"""Frames to decode before a container's index is believed: few, since those of masters are large."""
_HEAD_FRAMES = 8
"""Frames to decode before a scan of packets is believed."""


CUES = frozenset({"subrip", "ass", "mov_text", "webvtt", "text"})
"""Codecs, by FFmpeg's names, of which each packet is a cue."""
_EMPTY_CUE_BYTES = 2
"""MOV has text throughout: where nothing is shown, it is of length 0, which takes two bytes."""


@dataclass(frozen=True, slots=True)
class _Packet:
    """The times of one packet of the picture, in the stream's ticks."""

    pts_ticks: int | None
    dts_ticks: int | None
    keyframe: bool
    discard: bool
    duration_ticks: int = 0
    place: int = -1

    @property
    def shown(self) -> restarts.Shown | None:
        """When it is shown; None if nothing is known of that."""
        ticks = self.pts_ticks if self.pts_ticks is not None else self.dts_ticks
        return None if ticks is None else restarts.Shown(ticks, self.keyframe, self.pts_ticks is not None)


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading a master has shown, next to what its header says.

    Attributes:
        frames: When each frame is shown.
        first: The first frame.
        sound: When packets of sound are heard, by stream number, as far as they were read.
        text: When cues start and end, in milliseconds, by stream number.
        formats: Formats of the picture, where there are several.
        captions: Whether CEA-608 lies beside a frame; None where not all packets were read.
        delay_ticks: By how much frames are later than meant, where only decoding says when they are shown.
        places: Where in the file packets of the picture lie, in bytes, and when they are shown; in the file's order.
    """

    frames: FrameIndex
    first: VideoFrame
    sound: dict[int, PacketTimes] = field(default_factory=dict)
    formats: tuple[FormatFrom, ...] = ()
    captions: bool | None = None
    text: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    delay_ticks: int = 0
    places: Sequence[tuple[int, int]] = ()


def by_container_index(container: InputContainer, picture: VideoStream, master: Master) -> Seen | None:
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
    if changes_format(container, picture, entries, master):
        return None
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    for packet, frames in decoded(container, picture, frame_limit=_INDEXED_HEAD_FRAMES):
        packets += [packet] if packet else []
        head += frames
        if len(head) >= _INDEXED_HEAD_FRAMES:
            break
    if not head or head[0].pts is None:
        return None
    first, start = head[0], head[0].pts
    offsets: Sequence[int] | None = (0,) * len(entries)
    if picture.codec_context.has_b_frames:
        movie = read_movie(container.name, container.size, input_options(container.name))
        offsets = movie.composition_offsets(picture.id, [entry.size for entry in entries])
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
    sound = {
        stream.index: by_index(container, stream) for stream in container.streams.audio if len(stream.index_entries)
    }
    # A header's duration ends with the last frame's own.
    end = (picture.start_time or 0) + (picture.duration or 0)
    end_ticks = end if end > pts[-1] else None
    text = {stream.index: list(_indexed_text(stream)) for stream in text_streams(container)}
    places = [(entry.pos, time) for entry, time in zip(entries, times, strict=True)]
    found = _indexed(pts, _sought_in_mov(dts, late), "container index", end_ticks)
    return Seen(found, first, sound, text=text, places=places)


def by_packets(container: InputContainer, picture: VideoStream, master: Master) -> Seen | None:
    """Read all packets and decode the first few; None where packets and frames do not match."""
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    sound: dict[int, PacketTimes] = {}
    text: dict[int, list[tuple[int, int]]] = {}
    formats, captions = Formats(container, picture, master), Watcher(picture)
    all_of_it = decoded(
        container,
        picture,
        frame_limit=_HEAD_FRAMES,
        sound=sound,
        text=text,
        watching=(formats.see, captions.see),
    )
    for packet, frames in all_of_it:
        packets += [packet] if packet else []
        head += frames
    if not head:
        raise _no_frames(master)
    # What an edit list cuts off is decoded, but never shown.
    in_file = (packet.shown for packet in packets if not packet.discard)
    restarts.check(master, filter(None, in_file), time_base_of(picture))
    start = head[0].pts
    if start is None or any(p.pts_ticks is None for p in packets):
        return None
    # Leading frames without the pictures they refer to are never shown; nor are those that an edit list cuts off.
    shown = [p for p in packets if not p.discard and p.pts_ticks is not None and p.pts_ticks >= start]
    pts = sorted(p.pts_ticks for p in shown if p.pts_ticks is not None)
    if [frame.pts for frame in head] != pts[: len(head)]:
        return None
    keyframes = {bisect_left(pts, p.pts_ticks): p for p in shown if p.keyframe and p.pts_ticks is not None}
    last = max(shown, key=lambda p: p.pts_ticks or 0)
    end_ticks = pts[-1] + last.duration_ticks if last.duration_ticks > 0 else None
    frames_found = _indexed(pts, _sought(keyframes, shown, container, picture), "packets", end_ticks)
    return Seen(frames_found, head[0], sound, formats.found(), captions.found, text, places=_places(packets))


def by_decoding(container: InputContainer, picture: VideoStream, master: Master) -> Seen:
    """Decode everything: for AVI with B-frames and the like, whose packets don't say when they are shown."""
    picture.codec_context.thread_count = 0
    first: VideoFrame | None = None
    first_dts: int | None = None
    pts: list[int] = []
    keyframes: dict[int, int] = {}
    sound: dict[int, PacketTimes] = {}
    text: dict[int, list[tuple[int, int]]] = {}
    step = round(1 / (declared_rate(picture) * time_base_of(picture)))
    captions = Watcher(picture)
    watching = (captions.see,)
    formats: list[FormatFrom] = []
    packets: list[_Packet] = []
    for packet, frames in decoded(container, picture, frame_limit=None, sound=sound, text=text, watching=watching):
        packets += [packet] if packet else []
        first_dts = packet.dts_ticks if packet and first_dts is None else first_dts
        for frame in frames:
            first = first or frame
            # FFmpeg's own order of preference; AVI has decoding times only.
            known = frame.pts if frame.pts is not None else frame.dts
            step = pts[-1] - pts[-2] if len(pts) > 1 else step
            pts.append(known if known is not None else pts[-1] + step if pts else 0)
            shape = FormatFrom(pts[-1], frame, picture.codec_context.sample_aspect_ratio)
            formats += [shape] if not formats or formats[-1].deciding != shape.deciding else []
            if frame.key_frame:
                keyframes[len(pts) - 1] = pts[-1] - REORDER_FRAMES * step
    if first is None:
        raise _no_frames(master)
    restarts.check(master, filter(None, (packet.shown for packet in packets)), time_base_of(picture))
    pts.sort()
    frames_found = _indexed(pts, keyframes, "packets")
    return Seen(
        frames_found,
        first,
        sound,
        in_order(formats),
        captions.found,
        text,
        _decoder_delay(container, picture, pts[0], first_dts),
        _places(packets),
    )


def _places(packets: Iterable[_Packet]) -> list[tuple[int, int]]:
    times = ((packet.place, packet.shown) for packet in packets)
    return [(place, shown.ticks) for place, shown in times if place >= 0 and shown is not None]


def _decoder_delay(
    container: InputContainer, picture: VideoStream, start_ticks: int, first_dts_ticks: int | None
) -> int:
    """By how much the first frame is later than its packet in AVI, which counts packets in the order of decoding.

    Writers begin picture and sound together there, while a decoder gives the first frame out when it has seen those
    that may be shown before it.
    """
    if container.format.name != "avi" or first_dts_ticks is None:
        return 0
    delay = start_ticks - first_dts_ticks
    most = round(REORDER_FRAMES / (declared_rate(picture) * time_base_of(picture)))
    return delay if 0 < delay <= most else 0


def _indexed(
    pts: Sequence[int], seek_ticks: Mapping[int, int], origin: str, end_ticks: int | None = None
) -> FrameIndex:
    """The index, from the time to seek to for each keyframe; decoding can always start at the first frame."""
    known = sorted({0: pts[0], **{number: ticks for number, ticks in seek_ticks.items() if number < len(pts)}}.items())
    return FrameIndex(tuple(pts), tuple(n for n, _ in known), tuple(ticks for _, ticks in known), origin, end_ticks)


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
        late = ceil(Fraction(3, 23) / time_base_of(picture))
        ends = (after - 1 for after in (*pts[1:], pts[-1] + late + 1)) if pts else ()
        times = [min(at + late, end) for at, end in zip(pts, ends, strict=True)]
    elif container.format.name.startswith("mov,"):
        first_dts = min((p.dts_ticks for p in shown if p.dts_ticks is not None), default=0)
        late = min(p.pts_ticks for p in shown if p.pts_ticks is not None) - first_dts
        known = (at - late if decoded is None else decoded for at, decoded in zip(pts, dts, strict=True))
        return _sought_in_mov(dict(zip(keyframes, known, strict=True)), late)
    else:
        # Others, such as MPEG-TS's, go to the packet of that decoding time, keyframe or not.
        reorder = round(REORDER_FRAMES / (declared_rate(picture) * time_base_of(picture)))
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


def decoded(
    container: InputContainer,
    picture: VideoStream,
    *,
    frame_limit: int | None = 1,
    sound: dict[int, PacketTimes] | None = None,
    text: dict[int, list[tuple[int, int]]] | None = None,
    watching: Sequence[Callable[["Packet[Any]"], object]] = (),
) -> Iterator[tuple[_Packet | None, list[VideoFrame]]]:
    """Walk the picture's packets with the frames that come out, until ``frame_limit`` frames have been decoded.

    Packets of sound and text only leave their times in ``sound`` and ``text``; ``watching`` get each packet of the
    picture that is shown.
    """
    decoded = 0
    sound_codecs = {s.index: s.codec_context.codec.canonical_name for s in container.streams.audio if s.codec_context}
    written = {stream.index: stream for stream in text_streams(container)} if text is not None else {}
    wanted = [picture, *(container.streams.audio if sound is not None else ()), *written.values()]
    for packet in container.demux(wanted):
        if text is not None and packet.stream_index in written:
            text.setdefault(packet.stream_index, []).extend(_cue_times(packet, written[packet.stream_index]))
            continue
        if packet.stream_index != picture.index:
            if sound is not None:
                note_sound(sound, packet, sound_codecs.get(packet.stream_index, ""))
            continue
        frames: list[VideoFrame] = []
        if packet.size and not packet.is_discard:
            for watch in watching:
                watch(packet)
        if frame_limit is None or decoded < frame_limit:
            # The encoder's decoder steps over damaged packets, too.
            with suppress(av.FFmpegError):
                frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
            decoded += len(frames)
        # The last packet is empty and flushes the decoder.
        yield _times_of(packet) if packet.size else None, frames


def _times_of(packet: "Packet[Any]") -> _Packet:
    return _Packet(
        packet.pts,
        packet.dts,
        packet.is_keyframe,
        packet.is_discard,
        packet.duration or 0,
        -1 if packet.pos is None else packet.pos,
    )


def text_streams(container: InputContainer) -> list[SubtitleStream]:
    """The streams of text whose packets are cues, with the time of each."""
    return [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None and stream.codec_context.codec.canonical_name in CUES
    ]


def _cue_times(packet: "Packet[Any]", stream: SubtitleStream) -> Iterator[tuple[int, int]]:
    if packet.pts is not None and packet.duration and packet.size > _EMPTY_CUE_BYTES:
        tick_ms = time_base_of(stream) * 1000
        yield round(packet.pts * tick_ms), round((packet.pts + packet.duration) * tick_ms)


def _indexed_text(stream: SubtitleStream) -> Iterator[tuple[int, int]]:
    """The same by a container's index: each cue lasts until the next one begins, which may be empty."""
    entries, tick_ms = list(stream.index_entries), time_base_of(stream) * 1000
    end = (stream.start_time or 0) + (stream.duration or 0)
    for entry, after in zip(entries, (*(one.timestamp for one in entries[1:]), end), strict=True):
        if entry.size > _EMPTY_CUE_BYTES and not entry.is_discard and after > entry.timestamp:
            yield round(entry.timestamp * tick_ms), round(after * tick_ms)


def refreshed(container: InputContainer, picture: VideoStream, index: FrameIndex) -> FrameIndex:
    """Put keyframes where the picture is whole: with intra refresh, that is some frames behind what is called one.

    Source: ITU-T H.264, section D.2.8, ``recovery_frame_cnt``.
    """
    if len(index.keyframes) < 2:
        return index
    number, pts = index.keyframes[1], index.pts_ticks
    container.seek(index.seek_ticks[1], stream=picture)
    packets = islice(decoded(container, picture, frame_limit=None), _REFRESH_PACKETS)
    times = (frame.pts for _, frames in packets for frame in frames if frame.pts is not None)
    seen = next((time for time in times if time >= pts[number]), pts[number])
    late = bisect_left(pts, seen) - number
    known = {n + late: ticks for n, ticks in zip(index.keyframes[1:], index.seek_ticks[1:], strict=True)}
    return _indexed(pts, known, index.origin, index.end_ticks) if late else index


def _no_frames(master: Master) -> MasterError:
    return MasterError(f"{master.url} holds no frame that can be decoded; it is empty or damaged: deliver it again")
