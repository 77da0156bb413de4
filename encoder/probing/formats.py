"""Formats of the picture: which hold where, in a stream that changes them on the way."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.index import IndexEntry
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.timelines import parameters

_MOST_KEYFRAMES = 5000
"""How many keyframes of a local file are looked at; of a film of keyframes only, one in so many."""


@dataclass(frozen=True, slots=True)
class FormatFrom:
    """A format, and from when on it holds.

    Attributes:
        pts_ticks: When its first frame is shown.
        frame: A frame that has it.
        sample_aspect_ratio: Width of a pixel over its height; None where it is not stated.
    """

    pts_ticks: int
    frame: VideoFrame
    sample_aspect_ratio: Fraction | None

    @property
    def deciding(self) -> tuple[object, ...]:
        """What renditions depend on."""
        frame = self.frame
        colour = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        return frame.width, frame.height, frame.format.name, self.sample_aspect_ratio or 1, *colour


class Formats:
    """Watches the keyframes of a picture for other parameters, and decodes those that have some.

    Args:
        picture: The stream.
    """

    def __init__(self, picture: VideoStream) -> None:
        self._picture = picture
        self._codec = picture.codec_context.codec.canonical_name
        self._latest: bytes | None = None
        self._known: dict[bytes, FormatFrom] = {}
        self._found: list[FormatFrom] = []

    def see(self, packet: "Packet[Any]") -> None:
        """Look at a packet, if decoding can start there."""
        if not packet.is_keyframe:
            return
        extradata = bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
        head = memoryview(packet)[: parameters.HEAD_BYTES].tobytes()
        stated = extradata + parameters.of_picture(self._codec, head)
        if not stated or stated == self._latest or packet.pts is None:
            return
        self._latest = stated
        known = self._known.get(stated) or self._decoded(packet, extradata)
        if known is not None:
            self._known[stated] = known
            self._found.append(FormatFrom(packet.pts, known.frame, known.sample_aspect_ratio))

    def found(self) -> tuple[FormatFrom, ...]:
        """Formats in the order in which they are shown; nothing where there is only one."""
        kept: list[FormatFrom] = []
        for one in sorted(self._found, key=lambda one: one.pts_ticks):
            if not kept or kept[-1].deciding != one.deciding:
                kept.append(one)
        return tuple(kept) if len(kept) > 1 else ()

    def _decoded(self, packet: "Packet[Any]", extradata: bytes) -> FormatFrom | None:
        context = av.CodecContext.create(self._picture.codec_context.name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = extradata or self._picture.codec_context.extradata
        with suppress(av.FFmpegError):
            for frame in (*context.decode(Packet(bytes(packet))), *context.decode(None)):
                return FormatFrom(packet.pts or 0, frame, context.sample_aspect_ratio)
        return None


def changes_format(container: InputContainer, picture: VideoStream, entries: Sequence[IndexEntry]) -> bool:
    """Whether keyframes of a local file state different parameters, by its index; of a file elsewhere, none is read."""
    path = container.name.removeprefix("file:")
    codec = picture.codec_context.codec.canonical_name
    if not container.name.startswith("file:"):
        return False
    keyframes = [entry for entry in entries if entry.is_keyframe]
    stated: set[bytes] = set()
    with Path(path).open("rb") as file:
        for entry in keyframes[:: 1 + len(keyframes) // _MOST_KEYFRAMES]:
            head = os.pread(file.fileno(), min(entry.size, parameters.HEAD_BYTES), entry.pos)
            stated.add(parameters.of_picture(codec, head))
    return len(stated - {b""}) > 1
