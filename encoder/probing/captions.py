"""Detect and read captions in the picture of a master."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from encoder.probing.opening import opened, time_base_of
from encoder.subtitles.captions import CODECS, CaptionReader, Captions, cc_data, has_captions
from headend.core.media import Master

_MAX_PACKETS = 24
"""Number of packets to check at the start of a master in S3, where reading more costs time and money."""
_MAX_SAMPLES, _HEAD_BYTES = 5000, 4096
"""Maximum number of samples to check in a file with an index, and number of bytes to read of each. Captions precede the
picture in a sample. Broadcasters send captions with each frame, even empty ones, and a caption takes about a second of
frames."""


class CaptionDetector:
    """Detects captions in the packets of a picture.

    Args:
        picture: The stream.
    """

    def __init__(self, picture: VideoStream) -> None:
        self._reader = CaptionReader(picture)
        self._is_supported = picture.codec_context.codec.canonical_name in CODECS
        self.found = False

    def add(self, packet: "Packet[Any]") -> None:
        """Check a packet."""
        if self._is_supported and not self.found:
            self.found = self._reader.add(packet)


def has_captions_in_sample(container: InputContainer, picture: VideoStream) -> bool:
    """Whether a master has captions in the picture, without reading all of it.

    In a local file with an index, some samples are checked; otherwise, the first packets.
    """
    codec, extradata = picture.codec_context.codec.canonical_name, picture.codec_context.extradata or b""
    entries = picture.index_entries
    if not container.name.startswith("file:") or not len(entries):
        detector = CaptionDetector(picture)
        for packet in islice(container.demux(picture), _MAX_PACKETS):
            detector.add(packet)
        return detector.found
    with Path(container.name.removeprefix("file:")).open("rb") as file:
        for number in range(0, len(entries), 1 + len(entries) // _MAX_SAMPLES):
            entry = entries[number]
            head = os.pread(file.fileno(), min(entry.size, _HEAD_BYTES), entry.pos)
            if has_captions(cc_data(codec, memoryview(head), extradata)):
                return True
    return False


def read_captions(master: Master, input_url: str, stream: int) -> Captions:
    """Read all captions in a picture, without decoding it.

    Args:
        master: Named in errors.
        input_url: As for `encoder.probing.probe`.
        stream: Number of the picture.

    Raises:
        MasterError: The master can't be read.
    """
    with opened(master, input_url) as container:
        picture = container.streams[stream]
        assert isinstance(picture, VideoStream)
        for other in container.streams:
            if other is not picture:
                other.discard = Discard.all
        # Packets of MPEG-PS may lack presentation times, and captions are not in the file's order.
        container.flags |= Flags.gen_pts.value  # type: ignore[operator]  # a Flag in its stubs only
        reader = CaptionReader(picture)
        for packet in container.demux(picture):
            if packet.size and not packet.is_discard:
                reader.add(packet)
        return reader.captions(time_base_of(picture))
