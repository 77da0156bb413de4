"""Build the frame index of a master: the time of each frame, and the keyframes where decoding can start.

There are three ways, from the cheapest to the one that always works: the container's index, a scan of packets, and
decoding everything.
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
from av.index import IndexEntry
from av.packet import Packet
from av.stream import Discard
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing.captions import CaptionDetector
from encoder.probing.counting import numbered_times
from encoder.probing.formats import FormatDetector, PictureFormat, changes_format, merge_formats
from encoder.probing.opening import check_samples_complete, input_options, time_base_of
from encoder.probing.packets import check_hidden, note_sound, times_from_index
from encoder.probing.rates import declared_rate
from encoder.sample_tables import read_movie
from encoder.timelines import restarts
from encoder.timelines.spans import PacketTimes
from headend.core.errors import MasterError
from headend.core.media import COUNTED, FrameIndex, Master

REORDER_FRAMES = 16
"""Maximum distance between a frame's positions in decoding and presentation order: the DPB of H.264 and HEVC."""
_MAX_REFRESH_PACKETS = 300
"""Maximum number of packets to read until a picture is complete; encoders refresh a picture within a GOP."""
_INDEXED_HEAD_FRAMES = 3
"""Number of frames that are decoded to verify a container's index: few, since frames of masters are large."""
_HEAD_FRAMES = 8
"""Number of frames that are decoded to verify a scan of packets."""
CUES = frozenset({"subrip", "ass", "mov_text", "webvtt", "text"})
"""Codecs, by FFmpeg's names, with one cue in each packet."""
_EMPTY_CUE_BYTES = 2
"""Size of an empty cue, with which MOV fills times without text: only its length, 0, in two bytes."""


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet of the picture: its times in the stream's ticks, and its byte position in the file, -1 if unknown."""

    pts_ticks: int | None
    dts_ticks: int | None
    keyframe: bool
    discard: bool
    duration_ticks: int = 0
    position: int = -1

    @property
    def shown(self) -> restarts.PacketTime | None:
        """When it is shown, by its decoding time if it has no presentation time; None if it has neither."""
        ticks = self.pts_ticks if self.pts_ticks is not None else self.dts_ticks
        return None if ticks is None else restarts.PacketTime(ticks, self.keyframe, self.pts_ticks is not None)


@dataclass(frozen=True, slots=True)
class IndexedMaster:
    """The frame index of a master, and what else was found while it was built.

    Attributes:
        frames: The frame index.
        first: The first frame.
        sound: Times of packets of sound, by stream number; empty if they were not read.
        text: Start and end of cues in milliseconds, by stream number.
        formats: Formats of the picture, if there are several.
        captions: Whether there are CEA-608 captions in the picture; None if not all packets were read.
        delay_ticks: Delay that the decoder adds to the times of frames, if the times come from decoding.
        positions: Byte position and time of each packet of the picture, in the file's order.
    """

    frames: FrameIndex
    first: VideoFrame
    sound: dict[int, PacketTimes] = field(default_factory=dict)
    formats: tuple[PictureFormat, ...] = ()
    captions: bool | None = None
    text: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    delay_ticks: int = 0
    positions: Sequence[tuple[int, int]] = ()


def by_container_index(container: InputContainer, picture: VideoStream, master: Master) -> IndexedMaster | None:
    """Build the frame index from MOV's sample tables; None if these are incomplete or don't match the first frames."""
    # An edit list may leave samples out. A file with more entries than samples, or without samples, has fragments. A
    # file with more entries than bytes is an attack that would use up memory.
    plausible = 0 < len(picture.index_entries) <= min(picture.frames, container.size)
    if not container.format.name.startswith("mov,") or not plausible:
        return None
    for stream in container.streams.audio:
        stream.discard = Discard.all
    check_samples_complete(container, master)
    entries = list(picture.index_entries)
    if changes_format(container, picture, entries, master):
        return None
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    for packet, frames in packets_and_frames(container, picture, frame_limit=_INDEXED_HEAD_FRAMES):
        packets += [packet] if packet else []
        head += frames
        if len(head) >= _INDEXED_HEAD_FRAMES:
            break
    if not head or head[0].pts is None:
        return None
    times = _presentation_times(container, picture, entries, packets)
    if times is None:
        return None
    start = head[0].pts
    in_edit_list = [not entry.is_discard for entry in entries]
    # Leading frames without their reference pictures are never shown.
    shown = [kept and time >= start for kept, time in zip(in_edit_list, times, strict=True)]
    pts = sorted(compress(times, shown))
    if [frame.pts for frame in head] != pts[: len(head)] or any(after <= before for before, after in pairwise(pts)):
        return None  # for example, if each field is a sample: then the decoder is right
    # The first frame of those that can be decoded from a keyframe: it is not shown before the keyframe, and neither it
    # nor any later frame was decoded before.
    numbers = map(max, (bisect_left(pts, time) for time in times), accumulate(shown, initial=0))
    dts = {number: entry.timestamp for number, entry in zip(numbers, entries, strict=False) if entry.is_keyframe}
    first_delay = min(compress(times, in_edit_list)) - entries[in_edit_list.index(True)].timestamp
    # The duration in the header includes the last frame's.
    end = (picture.start_time or 0) + (picture.duration or 0)
    end_ticks = end if end > pts[-1] else None
    return IndexedMaster(
        _frame_index(pts, _seek_times_in_mov(dts, first_delay), "container index", end_ticks),
        head[0],
        {s.index: times_from_index(container, s) for s in container.streams.audio if len(s.index_entries)},
        text={stream.index: list(_cue_times_from_index(stream)) for stream in text_streams(container)},
        positions=[(entry.pos, time) for entry, time in zip(entries, times, strict=True)],
    )


def _presentation_times(
    container: InputContainer, picture: VideoStream, entries: Sequence[IndexEntry], first_packets: Sequence[_Packet]
) -> list[int] | None:
    """When each sample of MOV's index is shown; None if that is unknown, or the first packets have other times."""
    offsets: Sequence[int] | None = (0,) * len(entries)
    if picture.codec_context.has_b_frames:
        movie = read_movie(container.name, container.size, input_options(container.name))
        offsets = movie.composition_offsets(picture.id, [entry.size for entry in entries])
    if offsets is None or first_packets[0].pts_ticks is None:
        return None
    # Edit lists and negative offsets shift all times by the same amount.
    shift = first_packets[0].pts_ticks - entries[0].timestamp - offsets[0]
    times = [entry.timestamp + offset + shift for entry, offset in zip(entries, offsets, strict=True)]
    return times if [packet.pts_ticks for packet in first_packets] == times[: len(first_packets)] else None


def by_packets(container: InputContainer, picture: VideoStream, master: Master) -> IndexedMaster | None:
    """Build the frame index from the times of all packets; None if they don't match the first decoded frames."""
    packets: list[_Packet] = []
    head: list[VideoFrame] = []
    sound: dict[int, PacketTimes] = {}
    text: dict[int, list[tuple[int, int]]] = {}
    formats, captions = FormatDetector(container, picture, master), CaptionDetector(picture)
    scan = packets_and_frames(
        container,
        picture,
        frame_limit=_HEAD_FRAMES,
        sound=sound,
        text=text,
        on_packet=(formats.add, captions.add),
    )
    for packet, frames in scan:
        packets += [packet] if packet else []
        head += frames
    check_samples_complete(container, master)
    if not head:
        raise _no_frames(master)
    # Packets that an edit list cuts off are decoded, but never shown.
    in_file = (packet.shown for packet in packets if not packet.discard)
    restarts.check(master, filter(None, in_file), time_base_of(picture))
    start = head[0].pts
    check_hidden(container, master, {picture.index: _hidden(packets), **{n: t.hidden_ticks for n, t in sound.items()}})
    if start is None or any(p.pts_ticks is None for p in packets):
        return None
    # Leading frames without their reference pictures are never shown, nor are those that an edit list cuts off.
    shown = [p for p in packets if not p.discard and p.pts_ticks is not None and p.pts_ticks >= start]
    pts = sorted(p.pts_ticks for p in shown if p.pts_ticks is not None)
    if [frame.pts for frame in head] != pts[: len(head)]:
        return None
    hidden_s = -pts[0] * time_base_of(picture)
    if container.format.name.startswith("mov,") and hidden_s * declared_rate(picture) >= 1:
        # FFmpeg gives these frames negative times, and shows them. It leaves out the sound beside them.
        raise MasterError(
            f"{master.url}: the edit list of stream {picture.index} leaves out the first {float(hidden_s):.3f} s, "
            "which is not supported in fragments; export the film again, without edits"
        )
    keyframes = {bisect_left(pts, p.pts_ticks): p for p in shown if p.keyframe and p.pts_ticks is not None}
    last = max(shown, key=lambda p: p.pts_ticks or 0)
    end_ticks = pts[-1] + last.duration_ticks if last.duration_ticks > 0 else None
    index = _frame_index(pts, _seek_times(keyframes, shown, container, picture), "packets", end_ticks)
    return IndexedMaster(index, head[0], sound, formats.found(), captions.found, text, positions=_positions(packets))


def _hidden(packets: Sequence[_Packet]) -> list[int]:
    """Times of the packets that FFmpeg does not show although packets before and after them are shown."""
    shown = [p.pts_ticks for p in packets if not p.discard and p.pts_ticks is not None]
    hidden = (p.pts_ticks for p in packets if p.discard and p.pts_ticks is not None)
    return [time for time in hidden if shown and min(shown) <= time <= max(shown)]


def by_decoding(container: InputContainer, picture: VideoStream, master: Master) -> IndexedMaster:
    """Build the frame index by decoding everything, for files such as AVI with B-frames without presentation times."""
    picture.codec_context.thread_count = 0
    first: VideoFrame | None = None
    first_dts: int | None = None
    pts: list[int] = []
    keyframes: dict[int, int] = {}
    sound: dict[int, PacketTimes] = {}
    text: dict[int, list[tuple[int, int]]] = {}
    step = round(1 / (declared_rate(picture) * time_base_of(picture)))
    captions = CaptionDetector(picture)
    on_packet = (captions.add,)
    formats: list[PictureFormat] = []
    packets: list[_Packet] = []
    untimed, timed = 0, False
    for packet, frames in packets_and_frames(
        container, picture, frame_limit=None, sound=sound, text=text, on_packet=on_packet
    ):
        packets += [packet] if packet else []
        first_dts = packet.dts_ticks if packet and first_dts is None else first_dts
        for frame in frames:
            first = first or frame
            # FFmpeg's command line prefers the same time. AVI only has decoding times.
            time = frame.pts if frame.pts is not None else frame.dts
            step = pts[-1] - pts[-2] if len(pts) > 1 else step
            if time is None:
                untimed += not timed
            elif not timed and pts and time <= pts[-1]:
                raise MasterError(
                    f"{master.url} has no times for its first {untimed} pictures, which lie before the start of its"
                    " timeline; deliver it again with times from 0"
                )
            timed = timed or time is not None
            pts.append(time if time is not None else pts[-1] + step if pts else 0)
            frame_format = PictureFormat(pts[-1], frame, picture.codec_context.sample_aspect_ratio)
            formats += [frame_format] if not formats or formats[-1].properties != frame_format.properties else []
            if frame.key_frame:
                keyframes[len(pts) - 1] = pts[-1] - REORDER_FRAMES * step
    if first is None:
        raise _no_frames(master)
    restarts.check(master, filter(None, (packet.shown for packet in packets)), time_base_of(picture))
    numbered = numbered_times(pts, 1 / (declared_rate(picture) * time_base_of(picture)))
    pts.sort()
    return IndexedMaster(
        _frame_index(pts, keyframes, "packets") if numbered is None else _frame_index(numbered, {}, COUNTED),
        first,
        sound,
        merge_formats(formats),
        captions.found,
        text,
        _decoder_delay(container, picture, pts[0], first_dts),
        _positions(packets),
    )


def _positions(packets: Iterable[_Packet]) -> list[tuple[int, int]]:
    times = ((packet.position, packet.shown) for packet in packets)
    return [(position, shown.ticks) for position, shown in times if position >= 0 and shown is not None]


def _decoder_delay(
    container: InputContainer, picture: VideoStream, start_ticks: int, first_dts_ticks: int | None
) -> int:
    """How much later than its packet the first frame of an AVI is decoded; 0 for other containers.

    In AVI, the picture's packets are numbered in decoding order, and its first packet starts with the sound. But a
    decoder outputs the first frame only after it has read all packets that might be shown before it.
    """
    if container.format.name != "avi" or first_dts_ticks is None:
        return 0
    delay = start_ticks - first_dts_ticks
    max_delay = round(REORDER_FRAMES / (declared_rate(picture) * time_base_of(picture)))
    return delay if 0 < delay <= max_delay else 0


def _frame_index(
    pts: Sequence[int], seek_ticks: Mapping[int, int], origin: str, end_ticks: int | None = None
) -> FrameIndex:
    """Build the index from the seek time of each keyframe; decoding can always start at the first frame."""
    known = sorted({0: pts[0], **{number: ticks for number, ticks in seek_ticks.items() if number < len(pts)}}.items())
    return FrameIndex(tuple(pts), tuple(n for n, _ in known), tuple(ticks for _, ticks in known), origin, end_ticks)


def _seek_times(
    keyframes: Mapping[int, _Packet], shown: Sequence[_Packet], container: InputContainer, picture: VideoStream
) -> dict[int, int]:
    """The time to request from the container's demuxer to seek to each keyframe, by the keyframe's number.

    Source: in FFmpeg's ``fftools/ffmpeg_demux.c``, ``dts_heuristic``.
    """
    pts = [packet.pts_ticks or 0 for packet in keyframes.values()]
    dts = [packet.dts_ticks for packet in keyframes.values()]
    if container.format.name.startswith("matroska"):
        # Matroska seeks by presentation time. But if frames are reordered, FFmpeg's command line seeks 3/23 s earlier
        # and would find the previous keyframe. So request a time that is later by that much, but before the next
        # keyframe.
        correction = ceil(Fraction(3, 23) / time_base_of(picture))
        ends = (after - 1 for after in (*pts[1:], pts[-1] + correction + 1)) if pts else ()
        times = [min(time + correction, end) for time, end in zip(pts, ends, strict=True)]
    elif container.format.name.startswith("mov,"):
        first_dts = min((p.dts_ticks for p in shown if p.dts_ticks is not None), default=0)
        first_delay = min(p.pts_ticks for p in shown if p.pts_ticks is not None) - first_dts
        known = (
            pts_ticks - first_delay if dts_ticks is None else dts_ticks
            for pts_ticks, dts_ticks in zip(pts, dts, strict=True)
        )
        return _seek_times_in_mov(dict(zip(keyframes, known, strict=True)), first_delay)
    else:
        # Others, such as MPEG-TS, seek to the packet with that decoding time, keyframe or not.
        reorder = round(REORDER_FRAMES / (declared_rate(picture) * time_base_of(picture)))
        times = [
            pts_ticks - reorder if dts_ticks is None else dts_ticks
            for pts_ticks, dts_ticks in zip(pts, dts, strict=True)
        ]
    return dict(zip(keyframes, times, strict=True))


def _seek_times_in_mov(dts_ticks: Mapping[int, int], delay_ticks: int) -> dict[int, int]:
    """The times to request from MOV's demuxer, from the decoding time of each keyframe; both by the keyframe's number.

    MOV's demuxer seeks by decoding time. If there is an edit list, it may first subtract the delay of the first frame,
    ``delay_ticks``, from the requested time. So the request is a time that is right in both cases. If keyframes are too
    close for that, the request finds an earlier keyframe.

    Source: FFmpeg's ``mov_seek_stream`` and ``mov_fix_index``.
    """
    times = (*dts_ticks.values(), max(dts_ticks.values(), default=0) + 2 * delay_ticks)
    requests = (min(time + delay_ticks, (time + after) // 2) for time, after in pairwise(times))
    return dict(zip(dts_ticks, requests, strict=True))


def packets_and_frames(
    container: InputContainer,
    picture: VideoStream,
    *,
    frame_limit: int | None = 1,
    sound: dict[int, PacketTimes] | None = None,
    text: dict[int, list[tuple[int, int]]] | None = None,
    on_packet: Sequence[Callable[["Packet[Any]"], object]] = (),
) -> Iterator[tuple[_Packet | None, list[VideoFrame]]]:
    """Iterate over all packets of the picture, and decode the first ``frame_limit`` frames, or all if it is None.

    The times of packets of sound and text are recorded in ``sound`` and ``text``. The functions in ``on_packet`` are
    called with each packet of the picture that is shown.
    """
    decoded_count = 0
    sound_codecs = {s.index: s.codec_context.codec.canonical_name for s in container.streams.audio if s.codec_context}
    texts = {stream.index: stream for stream in text_streams(container)} if text is not None else {}
    wanted = [picture, *(container.streams.audio if sound is not None else ()), *texts.values()]
    for packet in container.demux(wanted):
        # Not `packet.stream_index`, which is 0 in the last packets, which are empty and flush the decoders.
        stream = packet.stream.index
        if text is not None and stream in texts:
            text.setdefault(stream, []).extend(_cue_times(packet, texts[stream]))
            continue
        if stream != picture.index:
            if sound is not None:
                note_sound(sound, packet, sound_codecs.get(stream, ""))
            continue
        frames: list[VideoFrame] = []
        if packet.size and not packet.is_discard:
            for callback in on_packet:
                callback(packet)
        if frame_limit is None or decoded_count < frame_limit:
            # Skip damaged packets, as the encoder's decoder does.
            with suppress(av.FFmpegError):
                frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
            decoded_count += len(frames)
        yield _packet(packet) if packet.size else None, frames


def _packet(packet: "Packet[Any]") -> _Packet:
    return _Packet(
        packet.pts,
        packet.dts,
        packet.is_keyframe,
        packet.is_discard,
        packet.duration or 0,
        -1 if packet.pos is None else packet.pos,
    )


def text_streams(container: InputContainer) -> list[SubtitleStream]:
    """The text streams with one cue in each packet."""
    return [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None and stream.codec_context.codec.canonical_name in CUES
    ]


def _cue_times(packet: "Packet[Any]", stream: SubtitleStream) -> Iterator[tuple[int, int]]:
    if packet.pts is not None and packet.duration and packet.size > _EMPTY_CUE_BYTES:
        tick_ms = time_base_of(stream) * 1000
        yield round(packet.pts * tick_ms), round((packet.pts + packet.duration) * tick_ms)


def _cue_times_from_index(stream: SubtitleStream) -> Iterator[tuple[int, int]]:
    """The start and end of the cues in a container's index; each cue lasts until the next one, which may be empty."""
    entries, tick_ms = list(stream.index_entries), time_base_of(stream) * 1000
    end = (stream.start_time or 0) + (stream.duration or 0)
    for entry, after in zip(entries, (*(later.timestamp for later in entries[1:]), end), strict=True):
        if entry.size > _EMPTY_CUE_BYTES and not entry.is_discard and after > entry.timestamp:
            yield round(entry.timestamp * tick_ms), round(after * tick_ms)


def adjust_for_intra_refresh(container: InputContainer, picture: VideoStream, index: FrameIndex) -> FrameIndex:
    """With intra refresh, move each keyframe to the frame where the picture is complete.

    Encoders refresh a part of each picture, and mark the frame at which a refresh starts as a keyframe.

    Source: ITU-T H.264, section D.2.8, ``recovery_frame_cnt``.
    """
    if len(index.keyframes) < 2:
        return index
    number, pts = index.keyframes[1], index.pts_ticks
    container.seek(index.seek_ticks[1], stream=picture)
    packets = islice(packets_and_frames(container, picture, frame_limit=None), _MAX_REFRESH_PACKETS)
    times = (frame.pts for _, frames in packets for frame in frames if frame.pts is not None)
    complete = next((time for time in times if time >= pts[number]), pts[number])
    refresh_frames = bisect_left(pts, complete) - number
    if not refresh_frames:
        return index
    seek_ticks = zip(index.keyframes[1:], index.seek_ticks[1:], strict=True)
    return _frame_index(pts, {n + refresh_frames: ticks for n, ticks in seek_ticks}, index.origin, index.end_ticks)


def _no_frames(master: Master) -> MasterError:
    return MasterError(f"{master.url} has no frame that can be decoded; it is empty or damaged: deliver it again")
