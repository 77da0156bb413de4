"""Presentation times of samples, from MOV's tables."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from encoder.probing import input_options
from encoder.sample_tables import Edit, Movie, read_movie
from headend.core import boxes
from tests.support.masters import Sound, make_film, rewrap
from tests.support.uneven_masters import with_edits

B_FRAMES = ("-bf", "3", "-g", "12")


def packets_of(film: Path) -> list[av.Packet]:
    with av.open(str(film)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def movie_of(film: Path) -> Movie:
    return read_movie(f"file:{film}", film.stat().st_size, input_options(str(film)))


def offsets_of(film: Path, sample_bytes: list[int], track: int = 1) -> tuple[int, ...] | None:
    return movie_of(film).composition_offsets(track, sample_bytes)


@pytest.mark.parametrize("index", ["behind", "before"])
def test_offsets_are_those_of_the_packets(index: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "a, film.mp4", frame_count=50, size=(160, 90), codec_args=B_FRAMES, sound=(Sound(),))
    if index == "before":
        film = rewrap(tmp_path / "fast.mp4", film, "-movflags", "+faststart")
    packets = packets_of(film)

    offsets = offsets_of(film, [packet.size for packet in packets])

    assert offsets == tuple(packet.pts - packet.dts for packet in packets)
    assert len(set(offsets)) > 1


def test_descriptions_of_samples_are_counted(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mov", sound=(Sound(codec="pcm_s16le"),))
    data = film.read_bytes()
    movie = movie_of(film)
    assert [movie.sample_entry_count(track) for track in (1, 2, 3)] == [1, 1, 0]

    # The sound has a second one, as in a file joined from two.
    at = data.rindex(b"stsd") + 8
    film.write_bytes(data[:at] + (2).to_bytes(4) + data[at + 4 :])
    movie = movie_of(film)
    assert [movie.sample_entry_count(track) for track in (1, 2)] == [1, 2]


def test_without_reordering_there_is_no_offset(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mov", frame_count=10, size=(160, 90), codec_args=("-bf", "0"))

    assert offsets_of(film, [packet.size for packet in packets_of(film)]) == (0,) * 10


def test_tables_of_other_samples_are_ignored(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=20, size=(160, 90), codec_args=B_FRAMES)
    sizes = [packet.size for packet in packets_of(film)]

    assert offsets_of(film, sizes[:-1]) is None
    assert offsets_of(film, [*sizes[:-1], sizes[-1] + 1]) is None
    assert offsets_of(film, sizes, track=2) is None


@pytest.mark.parametrize("box", [b"moov", b"trak", b"tkhd", b"stbl", b"stsz", b"ctts"])
@pytest.mark.parametrize("size", [0, 1, 8, 12, 1 << 31])
def test_damaged_tables_are_ignored(box: bytes, size: int, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=20, size=(160, 90), codec_args=B_FRAMES)
    sizes = [packet.size for packet in packets_of(film)]
    whole = offsets_of(film, sizes)
    data = film.read_bytes()
    at = data.index(box) - 4
    film.write_bytes(data[:at] + struct.pack(">I", size) + data[at + 4 :])

    assert offsets_of(film, sizes) in (None, whole, (0,) * len(sizes))


@pytest.mark.parametrize("version", [0, 1])
def test_edits_are_read_in_seconds(version: int, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mov", frame_count=10, size=(160, 90), codec_args=("-bf", "0"))
    entries = [(500, None, 1.0), (1500, 6400, 1.0), (1000, 0, 0.5)]
    with_edits(film, entries, version=version)

    movie = movie_of(film)
    assert movie.edits(1) == (
        Edit(Fraction(1, 2), None, Fraction(1)),
        Edit(Fraction(3, 2), Fraction(1, 2), Fraction(1)),
        Edit(Fraction(1), Fraction(0), Fraction(1, 2)),
    )
    assert movie.edits(2) == ()
    data = film.read_bytes()
    moov = boxes.find(data, "moov")
    assert Movie(data[moov.body : moov.end]).edits(1) == movie.edits(1)
    assert Movie(data[moov.body : moov.body + 40]).edits(1) == ()


class Counted(bytes):
    """Bytes that count how often they are sliced."""

    taken = 0

    def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
        type(self).taken += 1
        return super().__getitem__(key)  # type: ignore[index]


def test_each_box_header_of_a_hostile_film_is_read_once_however_many_tracks_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tkhd = [bytes(12) + struct.pack(">I", id) + bytes(8) for id in range(1, 301)]
    data = boxes.box(b"free", b"") * 10_000 + b"".join(boxes.box(b"trak", boxes.box(b"tkhd", body)) for body in tkhd)
    assert len(list(boxes.children(Counted(data)))) == Counted.taken == 10_300

    walked = 0

    def counted(data: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterator[boxes.Box]:
        nonlocal walked
        for box in children(data, start, end):
            walked += 1
            yield box

    children = boxes.children
    monkeypatch.setattr(boxes, "children", counted)
    movie = Movie(data)
    assert [movie.sample_entry_count(id) for id in range(1, 301)] == [0] * 300
    assert [movie.edits(id) for id in range(1, 301)] == [()] * 300
    assert walked < 10_300 + 300 * 5
