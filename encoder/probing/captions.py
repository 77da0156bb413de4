"""Captions in the picture of a master: whether there are any, and what they are."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from encoder.probing.opening import opened, time_base_of
from encoder.subtitles.captions import CODECS, Captions, Reader, cc_data, holds_captions
from headend.core.media import Master

_PACKETS = 24
"""Of a master in a store, which sends and bills what is read, the first packets are looked at."""
_MOST_SAMPLES, _HEAD_BYTES = 5000, 4096
"""Of a file with an index, so many samples that lie evenly, and how much of each: captions come before the picture.
Broadcasters send them with each frame, empty ones where nobody speaks; a caption takes about one second of frames."""


class Watcher:
    """Watches the packets of a picture for captions.

    Args:
        picture: The stream.
    """

    def __init__(self, picture: VideoStream) -> None:
        self._reader = Reader(picture)
        self._watches = picture.codec_context.codec.canonical_name in CODECS
        self.found = False

    def see(self, packet: "Packet[Any]") -> None:
        """Look at a packet."""
        if self._watches and not self.found:
            self.found = self._reader.see(packet)


def sampled(container: InputContainer, picture: VideoStream) -> bool:
    """Whether captions lie beside frames of a master that is not read from end to end.

    Of a local file some samples are looked at, wherever its index says that they are; of others the first packets.
    """
    codec, extradata = picture.codec_context.codec.canonical_name, picture.codec_context.extradata or b""
    entries = picture.index_entries
    if not container.name.startswith("file:") or not len(entries):
        watcher = Watcher(picture)
        for packet in islice(container.demux(picture), _PACKETS):
            watcher.see(packet)
        return watcher.found
    with Path(container.name.removeprefix("file:")).open("rb") as file:
        for number in range(0, len(entries), 1 + len(entries) // _MOST_SAMPLES):
            entry = entries[number]
            head = os.pread(file.fileno(), min(entry.size, _HEAD_BYTES), entry.pos)
            if holds_captions(cc_data(codec, memoryview(head), extradata)):
                return True
    return False


def read_captions(master: Master, input_url: str, stream: int) -> Captions:
    """Read all captions beside the frames of a picture; nothing is decoded.

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
        # Packets of MPEG-PS may not say when they are shown; their order in the file is not that of the captions.
        container.flags |= Flags.gen_pts.value  # type: ignore[operator]  # a Flag in its stubs only
        reader = Reader(picture)
        for packet in container.demux(picture):
            if packet.size and not packet.is_discard:
                reader.see(packet)
        return reader.captions(time_base_of(picture))
