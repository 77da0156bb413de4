"""Pictures joined from several parts without encoding, some without their parameter sets."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from encoder.probing import fit, probe, spot_checks
from headend.core.errors import MasterError
from tests.support.masters import master_of, run_ffmpeg

RATE = 10
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:pools=1")


def part(path: Path, size: str, *encoder: str, frames: int = 10) -> Path:
    source = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r={RATE}", "-frames:v", str(frames))
    run_ffmpeg(*source, *encoder, str(path))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Join files with FFmpeg's concat demuxer, without encoding."""
    listing = path.with_suffix(".txt")
    listing.write_text("".join(f"file '{one}'\n" for one in parts))
    run_ffmpeg("-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy", str(path))
    return path


def refused_at_s(path: Path) -> float:
    """Return the time that is named when a file is refused."""
    with pytest.raises(MasterError) as caught:
        probe(master_of(path), str(path))
    found = re.search(r"(?:from|at) (\d+\.\d+) s", caught.value.message)
    assert found is not None, caught.value.message
    return float(found[1])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("128x96", *HEVC, "-g", "5"), ("96x64", *HEVC, "-g", "5")),
        (("96x64", *HEVC), ("128x96", *HEVC)),  # one keyframe in each part
        (("128x96", *HEVC), ("128x96", *HEVC, "-preset", "medium")),
        (("128x96", *HEVC), ("128x96", *HEVC, "-pix_fmt", "yuv422p10le")),
    ],
    ids=["smaller", "larger", "other tools", "other chroma"],
)
def test_hevc_that_lost_the_parameter_sets_of_its_second_part_is_refused_with_the_time(
    suffix: str, first: Sequence[str], second: Sequence[str], tmp_path: Path
) -> None:
    parts = [part(tmp_path / f"{number}.mp4", *one) for number, one in enumerate((first, second))]

    assert refused_at_s(joined(tmp_path / f"film.{suffix}", *parts)) == pytest.approx(1, abs=0.01)


def test_the_time_of_the_change_is_found_if_only_some_keyframes_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spot_checks, "_BUDGET_PX", 0)
    monkeypatch.setattr(spot_checks, "_MIN_CHECKS", 3)
    short = part(tmp_path / "a.mp4", "96x64", *HEVC, "-g", "2", frames=14)
    long = part(tmp_path / "b.mp4", "128x96", *HEVC, "-g", "2", frames=36)

    for suffix in ("mp4", "mkv"):
        assert refused_at_s(joined(tmp_path / f"film.{suffix}", short, long)) == pytest.approx(1.4, abs=0.01)


@pytest.mark.parametrize(
    "options",
    [
        ("-x265-params", "log-level=error:slices=4:open-gop=1", "-g", "4"),
        ("-x265-params", "log-level=error:lossless=1"),
        ("-x265-params", "log-level=error:hrd=1:vbv-maxrate=500:vbv-bufsize=500:strict-cbr=1:filler=1", "-b:v", "500k"),
        ("-pix_fmt", "yuv444p12le", "-preset", "medium"),
    ],
    ids=["slices", "lossless", "padded", "12 bits"],
)
@pytest.mark.parametrize("picture", ["testsrc2=s=160x96:r=10", "color=black:s=160x96:r=10"], ids=["moving", "black"])
def test_keyframes_of_undamaged_hevc_fit_the_parameter_sets(
    options: Sequence[str], picture: str, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", "12", *HEVC, *options, str(path))
    with av.open(str(path)) as container:
        header = container.streams.video[0].codec_context.extradata or b""
        keyframes = [bytes(packet) for packet in container.demux(video=0) if packet.size and packet.is_keyframe]

    assert fit.is_testable("hevc", header)
    assert keyframes
    # Test each keyframe alone: together, one that fits might hide another that doesn't.
    assert all(fit.fits(header, [keyframe]) for keyframe in keyframes)


def test_a_damaged_keyframe_is_not_mistaken_for_another_part(tmp_path: Path) -> None:
    path = part(tmp_path / "film.mp4", "160x96", *HEVC, "-g", "4", frames=12)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    at, size = places[4]
    data = bytearray(path.read_bytes())
    data[at + size // 2 : at + size] = os.urandom(size - size // 2)
    path.write_bytes(data)

    found = probe(master_of(path), str(path)).video
    assert found is not None and found.frame_count == 12


def test_a_change_of_size_is_found_in_a_codec_without_a_parser(tmp_path: Path) -> None:
    for suffix in ("mov", "mkv"):
        codec = ("-c:v", "cfhd", "-pix_fmt", "yuv422p10le")
        parts = [part(tmp_path / f"{size}.{suffix}", size, *codec) for size in ("128x96", "96x64")]
        track = probe(master_of(path := joined(tmp_path / f"film.{suffix}", *parts)), str(path)).video

        assert track is not None
        (change,) = track.changes
        assert change.at_s == pytest.approx(1, abs=0.01)
        assert (change.before[:6], change.after[:5]) == ("128x96", "96x64")


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_raw_pictures_of_another_size_are_refused_with_the_time(suffix: str, tmp_path: Path) -> None:
    parts = [part(tmp_path / f"{size}.{suffix}", size, "-c:v", "v210") for size in ("96x64", "96x96")]

    assert refused_at_s(joined(tmp_path / f"film.{suffix}", *parts)) == pytest.approx(1, abs=0.01)


def with_colours(data: bytes, number: int) -> bytes:
    """Replace the visual object headers of MPEG-4 by ones that state primaries, transfer and matrix.

    Source: ISO/IEC 14496-2, section 6.2.2 (``VisualObject``, ``video_signal_type``).
    """
    bits = f"1{1:04b}{1:03b}{1:04b}1{5:03b}01{number:08b}{number:08b}{number:08b}0"
    bits += "1" * (-len(bits) % 8)
    header = b"\0\0\1\xb5" + int(bits, 2).to_bytes(len(bits) // 8)
    parts = re.split(rb"\x00\x00\x01\xb5.*?(?=\x00\x00\x01)", data, flags=re.DOTALL)
    assert len(parts) > 1
    return header.join(parts)


@pytest.mark.parametrize("reordered", ["0", "2"])
def test_a_change_of_colours_is_found_in_mpeg_4(reordered: str, tmp_path: Path) -> None:
    codec = ("-c:v", "mpeg4", "-bf", reordered, "-g", "5", "-f", "m4v")
    stream = part(tmp_path / "part.m4v", "96x64", *codec).read_bytes()
    whole, path = tmp_path / "whole.m4v", tmp_path / "film.avi"
    whole.write_bytes(with_colours(stream, 1) + with_colours(stream, 6))
    run_ffmpeg("-f", "m4v", "-framerate", str(RATE), "-i", str(whole), "-c", "copy", str(path))
    track = probe(master_of(path), str(path)).video

    assert track is not None
    (change,) = track.changes
    assert round(change.at_s - track.start_s, 1) == 1
    assert ("bt709" in change.before, "smpte170m" in change.after) == (True, True)


def test_a_change_of_size_is_found_in_vvc(tmp_path: Path) -> None:
    codec = ("-c:v", "libvvenc", "-preset", "faster", "-g", "8", "-threads", "1")
    parts = [part(tmp_path / f"{size}.mp4", size, *codec, frames=8) for size in ("128x96", "96x64")]
    track = probe(master_of(path := joined(tmp_path / "film.mp4", *parts)), str(path)).video

    assert track is not None and len(track.changes) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_change_of_size_is_found_in_parameter_sets_within_packets(suffix: str, tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5")
    parts = [part(tmp_path / f"{size}.mp4", size, *codec) for size in ("128x96", "96x64")]
    track = probe(master_of(path := joined(tmp_path / f"film.{suffix}", *parts)), str(path)).video

    assert track is not None
    (change,) = track.changes
    assert change.at_s == pytest.approx(1, abs=0.01)
    assert (change.before[:6], change.after[:5]) == ("128x96", "96x64")
