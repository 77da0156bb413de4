"""When samples are shown, from MOV's own tables."""

import struct
from pathlib import Path

import av
import pytest

from encoder.probing import input_options
from encoder.sample_tables import composition_offsets
from tests.support.masters import Sound, make_film, rewrap

B_FRAMES = ("-bf", "3", "-g", "12")


def packets_of(film: Path) -> list[av.Packet]:
    with av.open(str(film)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def offsets_of(film: Path, sample_bytes: list[int], track: int = 1) -> tuple[int, ...] | None:
    options = input_options(str(film))
    return composition_offsets(f"file:{film}", film.stat().st_size, options, track, sample_bytes)


@pytest.mark.parametrize("index", ["behind", "before"])
def test_offsets_are_those_of_the_packets(index: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "a, film.mp4", frame_count=50, size=(160, 90), codec_args=B_FRAMES, sound=(Sound(),))
    if index == "before":
        film = rewrap(tmp_path / "fast.mp4", film, "-movflags", "+faststart")
    packets = packets_of(film)

    offsets = offsets_of(film, [packet.size for packet in packets])

    assert offsets == tuple(packet.pts - packet.dts for packet in packets)
    assert len(set(offsets)) > 1


def test_without_reordering_there_is_no_offset(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mov", frame_count=10, size=(160, 90), codec_args=("-bf", "0"))

    assert offsets_of(film, [packet.size for packet in packets_of(film)]) == (0,) * 10


def test_tables_of_other_samples_are_not_believed(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=20, size=(160, 90), codec_args=B_FRAMES)
    sizes = [packet.size for packet in packets_of(film)]

    assert offsets_of(film, sizes[:-1]) is None
    assert offsets_of(film, [*sizes[:-1], sizes[-1] + 1]) is None
    assert offsets_of(film, sizes, track=2) is None


@pytest.mark.parametrize("box", [b"moov", b"trak", b"tkhd", b"stbl", b"stsz", b"ctts"])
@pytest.mark.parametrize("size", [0, 1, 8, 12, 1 << 31])
def test_damaged_tables_are_not_believed(box: bytes, size: int, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=20, size=(160, 90), codec_args=B_FRAMES)
    sizes = [packet.size for packet in packets_of(film)]
    whole = offsets_of(film, sizes)
    data = film.read_bytes()
    at = data.index(box) - 4
    film.write_bytes(data[:at] + struct.pack(">I", size) + data[at + 4 :])

    assert offsets_of(film, sizes) in (None, whole, (0,) * len(sizes))
