"""Find changes of the picture's format in mid-stream.

Most codecs state their parameters in keyframes; these parameters are compared. With other codecs, some keyframes are
decoded. If the parameters are only in the file's header, pictures that don't fit it are detected for some codecs: see
`fit`.
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
from encoder.probing.spot_checks import HEAD_PACKETS, SpotChecks, VerdictChange
from encoder.timelines import parameters
from headend.core.errors import MasterError
from headend.core.media import Master

_MAX_KEYFRAMES, _MAX_REMOTE_KEYFRAMES = 5000, 250
"""Maximum number of keyframes whose first bytes are read in a file with an index: in a local file, and in S3, where
each takes a request."""
_MAX_REMOTE_CHECKS = 12
"""Maximum number of whole keyframes that are read from S3."""
_RAW = frozenset({"rawvideo", "v210", "v210x", "v308", "v408", "v410", "ayuv", "yuv4", "y41p", "r210", "r10k", "avrp"})
"""Codecs whose packets are raw pictures, all of the same size and without parameters."""
_BY_HEADER = b"header"
"""Stands for the parameters of pictures that state none and use those in the file's header."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """A format of the picture, and when it starts.

    Attributes:
        pts_ticks: Presentation time of the first frame in this format.
        frame: A frame in this format.
        sample_aspect_ratio: Ratio of a pixel's width to its height; None if not stated.
    """

    pts_ticks: int
    frame: VideoFrame
    sample_aspect_ratio: Fraction | None

    @property
    def properties(self) -> tuple[object, ...]:
        """The properties that renditions depend on."""
        frame = self.frame
        colour = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        return frame.width, frame.height, frame.format.name, self.sample_aspect_ratio or 1, *colour


class FormatDetector:
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
        self._known: dict[bytes, PictureFormat] = {}
        self._found: list[PictureFormat] = []
        self._first_ticks: int | None = None
        self._raw_bytes = 0
        judge = _judge(picture)
        self._checks = SpotChecks(judge, spot_checks.interval_ticks(container, picture)) if judge is not None else None

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
                raise _raw_size_change(self._master, self._since_start_s(packet.pts))
        if self._checks is not None:
            self._checks.add(packet.pts, packet.is_keyframe, lambda: bytes(packet))
        if not packet.is_keyframe:
            return
        extradata = bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
        head = memoryview(packet)[: parameters.HEAD_BYTES].tobytes()
        stated = extradata + parameters.picture_parameters(self._codec, head)
        if not stated and self._latest is None and parameters.is_stated_in_keyframes(self._codec):
            # The parameters in the header are used until a picture states others.
            stated = _BY_HEADER
        if not stated or stated == self._latest or packet.pts is None:
            return
        self._latest = stated
        known = self._known.get(stated) or self._decoded(packet, extradata)
        if known is not None:
            self._known[stated] = known
            self._found.append(PictureFormat(packet.pts, known.frame, known.sample_aspect_ratio))

    def found(self) -> tuple[PictureFormat, ...]:
        """The formats in presentation order; empty if there is only one.

        Raises:
            MasterError: Some pictures don't fit the parameters in the header.
        """
        for ticks, verdict in self._checks.changes() if self._checks is not None else ():
            if isinstance(verdict, _Decoded):
                self._found.append(PictureFormat(ticks, verdict.frame, verdict.sample_aspect_ratio))
            elif ticks != self._first_ticks:
                raise _header_mismatch(self._master, self._since_start_s(ticks))
        return merge_formats(self._found)

    def _since_start_s(self, ticks: int | None) -> Fraction:
        """Time since the first picture."""
        return ((ticks or 0) - (self._first_ticks or 0)) * time_base_of(self._picture)

    def _decoded(self, packet: "Packet[Any]", extradata: bytes) -> PictureFormat | None:
        decoded = _decode(self._picture, [bytes(packet)], extradata)
        return None if decoded is None else PictureFormat(packet.pts or 0, decoded.frame, decoded.sample_aspect_ratio)


def merge_formats(found: Sequence[PictureFormat]) -> tuple[PictureFormat, ...]:
    """Sort formats in presentation order, and merge equal neighbours; empty if there is only one."""
    kept: list[PictureFormat] = []
    for picture_format in sorted(found, key=lambda picture_format: picture_format.pts_ticks):
        if not kept or kept[-1].properties != picture_format.properties:
            kept.append(picture_format)
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

    def since_start_s(number: int) -> Fraction:
        return (entries[number].timestamp - entries[0].timestamp) * time_base_of(picture)

    if codec in _RAW:
        other = next((n for n, entry in enumerate(entries) if entry.size and entry.size != entries[0].size), None)
        if other is not None:
            raise _raw_size_change(master, since_start_s(other))
        return False
    if parameters.is_stated_in_keyframes(codec):
        count = _MAX_KEYFRAMES if local else _MAX_REMOTE_KEYFRAMES
        sampled = [entries[keyframes[index]] for index in spread(len(keyframes), count)]
        heads = read_samples(container, sampled, parameters.HEAD_BYTES)
        if len({parameters.picture_parameters(codec, head) for head in heads}) > 1:
            return True
    judge = _judge(picture)
    if judge is None:
        return False

    def judge_keyframe(index: int) -> Hashable:
        start = keyframes[index]
        end = keyframes[index + 1] if index + 1 < len(keyframes) else len(entries)
        return judge(read_samples(container, entries[start : min(start + HEAD_PACKETS, end)]))

    count = spot_checks.keyframe_count(picture) if local else _MAX_REMOTE_CHECKS
    changes: list[VerdictChange] = spot_checks.find_changes(spread(len(keyframes), count), judge_keyframe)
    if len(changes) > 1 and isinstance(changes[0][1], bool):
        raise _header_mismatch(master, since_start_s(keyframes[changes[1][0]]))
    return len(changes) > 1


def _judge(picture: VideoStream) -> Callable[[Sequence[bytes]], Hashable] | None:
    """The judge of pictures whose packets state no parameters: see `spot_checks`. None if no decoding is needed."""
    codec, header = picture.codec_context.codec.canonical_name, picture.codec_context.extradata or b""
    if fit.is_testable(codec, header):
        return partial(fit.fits, header)
    if codec in _RAW or parameters.is_stated_in_keyframes(codec):
        return None
    return partial(_decode, picture)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A decoded frame; two are equal if the properties that renditions depend on are."""

    frame: VideoFrame
    sample_aspect_ratio: Fraction | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Decoded) and self._properties == other._properties

    def __hash__(self) -> int:
        return hash(self._properties)

    @property
    def _properties(self) -> tuple[object, ...]:
        return PictureFormat(0, self.frame, self.sample_aspect_ratio).properties


def _decode(picture: VideoStream, packets: Sequence[bytes], extradata: bytes = b"") -> _Decoded | None:
    """The first frame that can be decoded from packets alone; None if there is none."""
    header = picture.codec_context
    context = av.CodecContext.create(header.name, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = extradata or header.extradata
    context.width, context.height = header.width, header.height
    with suppress(av.FFmpegError):
        for frame in (*context.decode(Packet(packets[0])), *context.decode(None)):
            return _Decoded(frame, context.sample_aspect_ratio)
    return None


def _header_mismatch(master: Master, after_s: Fraction) -> MasterError:
    return MasterError(
        f"{master.url}: from {float(after_s):.3f} s on, the picture does not fit the parameters in the file's header, "
        "probably because parts were joined without encoding; deliver each part by itself, or join them with their own "
        "parameter sets (such as in MPEG-TS)",
        at_s=float(after_s),
    )


def _raw_size_change(master: Master, after_s: Fraction) -> MasterError:
    return MasterError(
        f"{master.url}: the size of raw pictures changes at {float(after_s):.3f} s; deliver each part by itself",
        at_s=float(after_s),
    )
