"""Find changes of the picture's format in mid-stream.

Most codecs state their parameters in keyframes, which are compared. For others, some keyframes are decoded. If the
parameters are only in a header, some codecs allow to detect pictures that don't fit it (see `fit`).
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.container import InputContainer
from av.index import IndexEntry
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing import fit, spot_checks
from encoder.probing.opening import time_base_of
from encoder.probing.parts import is_local, read_samples, spread
from encoder.probing.spot_checks import HEAD_PACKETS, SpotChecks, Turn
from encoder.timelines import parameters
from headend.core.errors import MasterError
from headend.core.media import Master

_MOST_KEYFRAMES, _MOST_REMOTE_KEYFRAMES = 5000, 250
"""Maximum number of keyframes whose heads are read in a local file with an index, and in one in a store, where each is
a request."""
_MOST_REMOTE_CHECKS = 12
"""Maximum number of keyframes that are read as a whole from a store."""
_RAW = frozenset({"rawvideo", "v210", "v210x", "v308", "v408", "v410", "ayuv", "yuv4", "y41p", "r210", "r10k", "avrp"})
"""Codecs whose packets are raw pictures of the same size without parameters."""


_BY_HEADER = b"header"
"""Placeholder for the parameters of pictures that use those in the header."""


@dataclass(frozen=True, slots=True)
class FormatFrom:
    """A format of the picture, and where it starts.

    Attributes:
        pts_ticks: Presentation time of its first frame.
        frame: A frame in this format.
        sample_aspect_ratio: Ratio of a pixel's width to its height; None if not stated.
    """

    pts_ticks: int
    frame: VideoFrame
    sample_aspect_ratio: Fraction | None

    @property
    def deciding(self) -> tuple[object, ...]:
        """The properties that renditions depend on."""
        frame = self.frame
        colour = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        return frame.width, frame.height, frame.format.name, self.sample_aspect_ratio or 1, *colour


class Formats:
    """Detects changes of format while the packets of a picture are read.

    Args:
        container: The open master.
        picture: Its picture.
        master: Named in errors.
    """

    def __init__(self, container: InputContainer, picture: VideoStream, master: Master) -> None:
        self._picture, self._master = picture, master
        self._codec = picture.codec_context.codec.canonical_name
        self._latest: bytes | None = None
        self._known: dict[bytes, FormatFrom] = {}
        self._found: list[FormatFrom] = []
        self._first_ticks: int | None = None
        self._raw_bytes = 0
        judge = _judge(picture)
        self._checks = SpotChecks(judge, spot_checks.every_ticks(container, picture)) if judge is not None else None

    def add(self, packet: "Packet[Any]") -> None:
        """Process a packet.

        Raises:
            MasterError: It is a raw picture whose size differs from those before it.
        """
        if self._first_ticks is None:
            self._first_ticks = packet.pts
        if self._codec in _RAW and packet.size:
            self._raw_bytes = self._raw_bytes or packet.size
            if packet.size != self._raw_bytes:
                raise _resized(self._master, self._after(packet.pts))
        if self._checks is not None:
            self._checks.add(packet.pts, packet.is_keyframe, lambda: bytes(packet))
        if not packet.is_keyframe:
            return
        extradata = bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
        head = memoryview(packet)[: parameters.HEAD_BYTES].tobytes()
        stated = extradata + parameters.of_picture(self._codec, head)
        if not stated and self._latest is None and parameters.stated_in_picture(self._codec):
            # The header holds for the first pictures, until one states other parameters.
            stated = _BY_HEADER
        if not stated or stated == self._latest or packet.pts is None:
            return
        self._latest = stated
        known = self._known.get(stated) or self._decoded(packet, extradata)
        if known is not None:
            self._known[stated] = known
            self._found.append(FormatFrom(packet.pts, known.frame, known.sample_aspect_ratio))

    def found(self) -> tuple[FormatFrom, ...]:
        """The formats in presentation order; empty if there is only one.

        Raises:
            MasterError: Some pictures don't fit the parameters in the header.
        """
        for ticks, verdict in self._checks.turns() if self._checks is not None else ():
            if isinstance(verdict, _Decoded):
                self._found.append(FormatFrom(ticks, verdict.frame, verdict.sample_aspect_ratio))
            elif ticks != self._first_ticks:
                raise _misfit(self._master, self._after(ticks))
        return in_order(self._found)

    def _after(self, ticks: int | None) -> Fraction:
        """Seconds since the first picture."""
        return ((ticks or 0) - (self._first_ticks or 0)) * time_base_of(self._picture)

    def _decoded(self, packet: "Packet[Any]", extradata: bytes) -> FormatFrom | None:
        decoded = _decode(self._picture, [bytes(packet)], extradata)
        return None if decoded is None else FormatFrom(packet.pts or 0, decoded.frame, decoded.sample_aspect_ratio)


def in_order(found: Sequence[FormatFrom]) -> tuple[FormatFrom, ...]:
    """Sort formats in presentation order, and merge equal neighbours; empty if there is only one."""
    kept: list[FormatFrom] = []
    for one in sorted(found, key=lambda one: one.pts_ticks):
        if not kept or kept[-1].deciding != one.deciding:
            kept.append(one)
    return tuple(kept) if len(kept) > 1 else ()


def changes_format(
    container: InputContainer, picture: VideoStream, entries: Sequence[IndexEntry], master: Master
) -> bool:
    """Whether the format of a picture changes, checked at samples of its index.

    Args:
        container: A master with an index.
        picture: Its picture.
        entries: The index entries of all its samples.
        master: Named in errors.

    Raises:
        MasterError: Some pictures don't fit the parameters in the header.
    """
    codec, local = picture.codec_context.codec.canonical_name, is_local(container)
    keyframes = [number for number, entry in enumerate(entries) if entry.is_keyframe and not entry.is_discard]

    def after(number: int) -> Fraction:
        return (entries[number].timestamp - entries[0].timestamp) * time_base_of(picture)

    if codec in _RAW:
        other = next((n for n, entry in enumerate(entries) if entry.size and entry.size != entries[0].size), None)
        if other is not None:
            raise _resized(master, after(other))
        return False
    if parameters.stated_in_picture(codec):
        most = _MOST_KEYFRAMES if local else _MOST_REMOTE_KEYFRAMES
        sampled = [entries[keyframes[place]] for place in spread(len(keyframes), most)]
        heads = read_samples(container, sampled, parameters.HEAD_BYTES)
        if len({parameters.of_picture(codec, head) for head in heads}) > 1:
            return True
    judge = _judge(picture)
    if judge is None:
        return False

    def judged(place: int) -> Hashable:
        start = keyframes[place]
        end = keyframes[place + 1] if place + 1 < len(keyframes) else len(entries)
        return judge(read_samples(container, entries[start : min(start + HEAD_PACKETS, end)]))

    checked = spot_checks.how_many(picture) if local else _MOST_REMOTE_CHECKS
    changes: list[Turn] = spot_checks.turns(spread(len(keyframes), checked), judged)
    if len(changes) > 1 and isinstance(changes[0][1], bool):
        raise _misfit(master, after(keyframes[changes[1][0]]))
    return len(changes) > 1


def _judge(picture: VideoStream) -> Callable[[Sequence[bytes]], Hashable] | None:
    """The judge of pictures whose packets state no parameters; None if no decoding is needed."""
    codec, header = picture.codec_context.codec.canonical_name, picture.codec_context.extradata or b""
    if fit.is_testable(codec, header):
        return partial(fit.fits, header)
    if codec in _RAW or parameters.stated_in_picture(codec):
        return None
    return partial(_decode, picture)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A decoded frame; two are equal if the properties that renditions depend on are."""

    frame: VideoFrame
    sample_aspect_ratio: Fraction | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Decoded) and self._deciding == other._deciding

    def __hash__(self) -> int:
        return hash(self._deciding)

    @property
    def _deciding(self) -> tuple[object, ...]:
        return FormatFrom(0, self.frame, self.sample_aspect_ratio).deciding


def _decode(picture: VideoStream, packets: Sequence[bytes], extradata: bytes = b"") -> _Decoded | None:
    """The first frame that can be decoded from packets alone; None if there is none."""
    known = picture.codec_context
    context = av.CodecContext.create(known.name, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = extradata or known.extradata
    context.width, context.height = known.width, known.height
    with suppress(av.FFmpegError):
        for frame in (*context.decode(Packet(packets[0])), *context.decode(None)):
            return _Decoded(frame, context.sample_aspect_ratio)
    return None


def _misfit(master: Master, after_s: Fraction) -> MasterError:
    return MasterError(
        f"{master.url}: from {float(after_s):.3f} s on, the picture does not fit the parameters in the file's header, "
        "probably because parts were joined without encoding; deliver each part by itself, or join them with their own "
        "parameter sets (such as in MPEG-TS)",
        at_s=float(after_s),
    )


def _resized(master: Master, after_s: Fraction) -> MasterError:
    return MasterError(
        f"{master.url}: the size of raw pictures changes at {float(after_s):.3f} s; deliver each part by itself",
        at_s=float(after_s),
    )
