"""Presets are compared at equal quality."""

import pytest

from benchmarks.presets import PRESETS, REFERENCE, Point, relative_size
from headend.core.codecs import av1, avc, hevc, vp9
from headend.core.media import Codec, Effort


def points(*pairs: tuple[int, float], clip: str = "film") -> list[Point]:
    return [Point(clip, crf=0, cpu_s=1.0, bytes=size, vmaf=vmaf) for size, vmaf in pairs]


def test_half_the_bits_at_every_quality_is_half_the_size() -> None:
    theirs = points((1000, 60.0), (2000, 80.0), (4000, 90.0))
    mine = points((500, 60.0), (1000, 80.0), (2000, 90.0))
    assert relative_size(mine, theirs) == pytest.approx(0.5)


def test_only_the_shared_range_of_quality_counts() -> None:
    theirs = points((1000, 60.0), (4000, 80.0))
    mine = points((1400, 70.0), (5600, 90.0))
    # The other preset needs 2000 at VMAF 70 and 4000 at 80; this one needs 1400 and 2800.
    assert relative_size(mine, theirs) == pytest.approx(0.7)


def test_every_clip_has_the_same_weight() -> None:
    theirs = points((1000, 60.0), (2000, 80.0)) + points((100, 60.0), (200, 80.0), clip="street")
    mine = points((500, 60.0), (1000, 80.0)) + points((200, 60.0), (400, 80.0), clip="street")
    assert relative_size(mine, theirs) == pytest.approx(1.0)


def test_presets_without_common_quality_are_not_compared() -> None:
    assert relative_size(points((1, 10.0), (2, 20.0)), points((1, 80.0), (2, 90.0))) == 1.0


@pytest.mark.parametrize("effort", Effort)
def test_presets_of_every_effort_are_among_those_that_are_measured(effort: Effort) -> None:
    assert avc.PRESETS[effort] in PRESETS[Codec.AVC]
    assert hevc.PRESETS[effort] in PRESETS[Codec.HEVC]
    assert str(av1.PRESETS[effort]) in PRESETS[Codec.AV1]
    deadline, speed = vp9.PRESETS[effort]
    assert f"{deadline} {speed}" in PRESETS[Codec.VP9]


def test_every_codec_has_its_reference() -> None:
    assert all(REFERENCE[codec] in presets for codec, presets in PRESETS.items())
