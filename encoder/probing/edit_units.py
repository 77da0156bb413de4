"""Build the frame index of MXF with only keyframes from its number of edit units, without reading the whole file.

Each frame is an edit unit, and the file's index table has an entry for each. The sound has the same edit units, so none
can be missing.

Source: SMPTE ST 377-1, section 11 (index tables).
"""

from contextlib import suppress

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing.indexing import IndexedMaster
from headend.core.media import FrameIndex

_CHECKED = 16
"""Number of frames at which the index table is verified."""


def by_edit_units(container: InputContainer, picture: VideoStream) -> IndexedMaster | None:
    """Build the frame index from the number of edit units; None if some frames aren't keyframes, or there is no index.

    Args:
        container: A newly opened MXF file.
        picture: Its picture.
    """
    start, count = picture.start_time or 0, picture.duration or 0
    if not picture.codec_context.codec.intra_only or count <= _CHECKED:
        return None
    for stream in container.streams:
        if stream is not picture:
            stream.discard = Discard.all
    first = _frame_at(container, picture, start)
    offsets = (*(count * number // _CHECKED for number in range(1, _CHECKED)), count - 1)
    if first is None or any(_frame_at(container, picture, start + offset) is None for offset in offsets):
        return None
    if any(packet.size for packet in container.demux(picture)):
        return None  # there are more frames than the header states
    pts = tuple(range(start, start + count))
    return IndexedMaster(FrameIndex(pts, tuple(range(count)), pts, "container index", start + count), first)


def _frame_at(container: InputContainer, picture: VideoStream, pts_ticks: int) -> VideoFrame | None:
    """The frame that the index table has for a time; None if it has another time, or can't be decoded."""
    container.seek(pts_ticks, stream=picture)
    packet = next((next_packet for next_packet in container.demux(picture) if next_packet.size), None)
    if packet is None or (packet.pts, packet.is_keyframe) != (pts_ticks, True):
        return None
    with suppress(av.FFmpegError):
        frames = (*packet.decode(), *picture.codec_context.decode(None))
        picture.codec_context.flush_buffers()
        if [frame.pts for frame in frames] == [pts_ticks]:
            return frames[0]
    return None
