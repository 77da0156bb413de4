"""Clear titles keep their bytes: a URL never changes its content, whatever headend learns."""

import base64
import hashlib
import json
import zlib
from fractions import Fraction
from pathlib import Path

import pytest

from headend.core.timing import Grid
from packager.segmenting.cut import Cut
from packager.segmenting.sound import cut_audio
from packager.segmenting.video import cut_video

GOLDEN = json.loads(Path(__file__).with_name("clear_bytes.json").read_text())
"""Encoders' files, and the digests of their objects before encryption was added."""
GRID = Grid(Fraction(24), frame_count=24, gop_frames=6, segment_frames=12, chunk_frames=24)


def cut(name: str, data: memoryview) -> Cut:
    if name == "aac":
        return cut_audio(data, rendition=name, grid=GRID, sample_rate_hz=48_000, frame_samples=1024)
    level = "1.0" if name == "vp9" else None
    return cut_video(data, rendition=name, grid=GRID, chunk=GRID.chunks()[0], rate_divisor=1, vp9_level=level)


@pytest.mark.parametrize("name", GOLDEN)
def test_clear_segments_keep_the_bytes_of_earlier_versions(name: str) -> None:
    """If a change must break this test, raise `headend.core.layout.SEGMENT_FORMAT`, so that tracks get other names."""
    encoded = zlib.decompress(base64.b85decode(GOLDEN[name]["encoded"]))
    packaged = cut(name, memoryview(bytearray(encoded)))
    assert [hashlib.sha256(one).hexdigest()[:32] for one in (packaged.init, *packaged.bodies)] == GOLDEN[name]["sha256"]
