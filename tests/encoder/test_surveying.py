"""Results of a survey: bytes of each GOP, black and frozen frames, cuts."""

import pytest

from encoder.surveying import Detections, complexity
from headend.core.errors import ChunkRejected
from headend.core.timing import Chunk

PACKETS = (
    "#tb 0: 1/25\n" + "\n".join(f"0, {n}, {n}, 1, {1000 if n % 10 == 0 else 10}, 0xdeadbeef" for n in range(25)) + "\n"
)


def test_bytes_are_counted_by_gop() -> None:
    found = complexity(Chunk(1, 250, 275, 1), PACKETS, Detections(), gop_frames=10, frames_per_s=25.0, cpu_s=1.5)

    assert found.first_frame == 250
    assert [(gop.frames, gop.size_bytes) for gop in found.gops] == [(10, 1090), (10, 1090), (5, 1040)]
    assert found.cpu_s == 1.5


def test_detections_are_mapped_to_the_grid() -> None:
    seen = Detections()
    for line in (
        "[blackdetect @ 0x55] black_start:0 black_end:0.4 black_duration:0.4",
        "[freezedetect @ 0x56] lavfi.freezedetect.freeze_start: 0.8",
        "[scdet @ 0x57] lavfi.scd.score: 31.200, lavfi.scd.time: 0.52",
        "[h264 @ 0x58] error while decoding MB 3 4",
    ):
        seen.add_line(line)

    found = complexity(Chunk(0, 0, 25, 1), PACKETS, seen, gop_frames=10, frames_per_s=25.0, cpu_s=0)

    assert [gop.black_frames for gop in found.gops] == [10, 0, 0]
    # It stands still until the end.
    assert [gop.frozen_frames for gop in found.gops] == [0, 0, 5]
    assert [gop.cuts for gop in found.gops] == [(), (3,), ()]


def test_a_survey_that_lacks_frames_is_rejected() -> None:
    with pytest.raises(ChunkRejected, match="25 frames, not 30"):
        complexity(Chunk(0, 0, 30, 1), PACKETS, Detections(), gop_frames=10, frames_per_s=25.0, cpu_s=0)
