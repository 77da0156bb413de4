"""Reads a release back like a player: init segment, then media segments."""

import io
from collections.abc import Iterator

import av
import numpy as np

from headend.core import layout
from headend.core.media import Presentation, Track
from headend.core.storage import Store
from tests.support.frame_numbers import read_frame_number


def track_bytes(store: Store, presentation: Presentation, track: Track) -> bytes:
    """Return a whole rendition, as a decoder gets it."""
    keys = [layout.track_init(presentation.title, track.id)]
    keys += [layout.track_segment(presentation.title, track.id, part.number) for part in track.segments]
    return b"".join(store.get(key) for key in keys)


def frames(data: bytes) -> Iterator[av.VideoFrame]:
    """Decode a video rendition."""
    with av.open(io.BytesIO(data)) as container:
        yield from container.decode(video=0)


def frame_numbers(data: bytes) -> list[int | None]:
    """Return the numbers in a rendition's pictures, in display order."""
    return [frame_number(frame) for frame in frames(data)]


def sound(data: bytes) -> np.ndarray:
    """Decode a sound rendition from time 0 on; channels × samples, floating point.

    Samples with negative times are dropped, as in players: some demuxers leave the priming to the player.
    """
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="fltp")
        blocks = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    first = blocks[0]
    early = max(0, -round(first.pts * first.time_base * first.sample_rate))
    return np.concatenate([block.to_ndarray() for block in blocks], axis=1)[:, early:]


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    """Return a frame's luma plane, as numbers of its bit depth."""
    return planes_of(frame)[0]


def planes_of(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """Return a frame's planes, as numbers of its bit depth."""
    kind = np.uint16 if "10" in frame.format.name else np.uint8
    return tuple(np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes)


def frame_number(frame: av.VideoFrame) -> int | None:
    """Return the number in a picture."""
    return read_frame_number(luma_of(frame), bit_depth=10 if "10" in frame.format.name else 8)


def dialnorms_db(data: bytes) -> set[int]:
    """Loudness metadata of the frames in an AC-3 or E-AC-3 rendition.

    Source: ETSI TS 102 366, sections 4.3.2 and E.1.2.2.
    """
    with av.open(io.BytesIO(data)) as container:
        return {_dialnorm_db(bytes(packet)) for packet in container.demux(audio=0) if packet.size}


def _dialnorm_db(frame: bytes) -> int:
    bits = f"{int.from_bytes(frame[:16], 'big'):0128b}"
    assert bits[:16] == f"{0x0B77:016b}"
    if int(bits[40:45], 2) > 10:  # bsid of E-AC-3, at the same place in both
        at = 45
    else:
        channels = int(bits[48:51], 2)
        # Mix levels of the centre and the surrounds, or the mark of Dolby Surround.
        at = 51 + 2 * (channels & 1 and channels != 1) + 2 * bool(channels & 4) + 2 * (channels == 2) + 1
    return -int(bits[at : at + 5], 2)
