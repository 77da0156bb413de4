"""Scans of masters: damage is found with its place, and undamaged masters have none."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from encoder import damage, sandbox
from encoder.conforming import conform
from encoder.planning import checked_picture
from encoder.probing import probe
from headend.core.errors import MasterError
from headend.core.media import Damage, FrameIndex, Probe, ReadRange, merged
from tests.support.damage import blank, garble, lose, skip_frames
from tests.support.makers import make_probe, make_video_track
from tests.support.masters import Sound, make_film, master_of

FRAME_S = Fraction(1, 25)
X264 = ("-g", "25", "-bf", "2")
MPEG2 = ("-g", "12", "-bf", "2", "-q:v", "2")


def film(path: Path, codec: str = "libx264", codec_args: tuple[str, ...] = X264, sound_codec: str = "aac") -> Path:
    return make_film(
        path, frame_count=50, codec=codec, codec_args=codec_args, sound=(Sound(codec=sound_codec),), noise=20
    )


def found_in(path: Path, *, first: int = 0, end: int = 50, sound: bool = True) -> list[tuple[int, float, float, int]]:
    """Return damage of the frames ``first`` to ``end``: stream, start and end in seconds, number of errors."""
    known = probe(master_of(path), str(path))
    start_s = checked_picture(known).start_s
    range_s = start_s, FRAME_S, None, start_s + first * FRAME_S, start_s + end * FRAME_S
    readings = [ReadRange(checked_picture(known).index, *range_s)]
    if sound:
        readings += [ReadRange(track.index, start_s, Fraction(0), *range_s[2:]) for track in known.audio]
    found = damage.scan(master_of(path), str(path), readings)
    return [(one.stream, float(one.start_s), float(one.end_s), one.errors) for one in found]


@pytest.mark.parametrize(
    ("suffix", "codec", "codec_args", "sound_codec"),
    [
        ("mp4", "libx264", X264, "aac"),
        ("ts", "libx264", ("-g", "25", "-bf", "3", "-x264-params", "open-gop=1"), "mp2"),
        ("ts", "mpeg2video", MPEG2, "aac"),
        ("mkv", "libx265", ("-x265-params", "log-level=none:keyint=20:open-gop=1"), "ac3"),
        ("mxf", "mpeg2video", MPEG2, "pcm_s16le"),
        ("avi", "mpeg4", ("-g", "25", "-bf", "2"), "pcm_s16le"),
    ],
)
@pytest.mark.parametrize(("first", "end"), [(0, 50), (17, 33)])
def test_nothing_is_found_in_an_undamaged_master(
    suffix: str, codec: str, codec_args: tuple[str, ...], sound_codec: str, first: int, end: int, tmp_path: Path
) -> None:
    assert found_in(film(tmp_path / f"film.{suffix}", codec, codec_args, sound_codec), first=first, end=end) == []


def test_frames_that_the_decoder_flags_are_found(tmp_path: Path) -> None:
    damaged = garble(film(tmp_path / "film.mp4", codec_args=("-g", "25", "-bf", "0")), [30, 31])

    assert found_in(damaged) == [(0, 1.2, 1.28, 2)]
    assert found_in(damaged, first=31) == [(0, 1.24, 1.28, 1)]
    assert found_in(damaged, end=30) == []


def test_missing_frames_are_found_if_the_decoder_reports_no_error(tmp_path: Path) -> None:
    path = skip_frames(make_film(tmp_path / "film.mp4", frame_count=50, codec="mpeg4"), [30, 31])

    assert found_in(path) == [(0, 1.2, 1.28, 2)]


def test_sound_that_can_not_be_decoded_is_found(tmp_path: Path) -> None:
    ((stream, start_s, end_s, errors),) = found_in(garble(film(tmp_path / "film.mp4"), [40, 41], stream=1))

    assert (stream, errors) == (1, 2)
    assert 0.8 < start_s < end_s < 0.9


def test_lost_packets_of_sound_are_found(tmp_path: Path) -> None:
    path = lose(film(tmp_path / "film.ts", "mpeg2video", MPEG2, "mp2"), [3], stream=1)

    assert {stream for stream, *_ in found_in(path)} == {1}


def test_lost_frames_of_a_transport_stream_are_gaps_in_its_index(tmp_path: Path) -> None:
    path = lose(film(tmp_path / "film.ts", "mpeg2video", ("-g", "12", "-bf", "0", "-q:v", "2"), "mp2"), [30])
    known = probe(master_of(path), str(path))
    track = checked_picture(known)

    (hole,) = damage.find_missing_frames(known, track)
    whole = damage.fill_missing_frames(track)

    assert (hole.start_s, hole.end_s, hole.errors) == (Fraction(6, 5), Fraction(31, 25), 1)
    assert (track.frame_count, whole.frame_count) == (49, 50)
    assert conform(whole).frame_count == 50
    assert [whole.frames.pts_ticks[number] for number in whole.frames.keyframes] == [
        track.frames.pts_ticks[number] for number in track.frames.keyframes
    ]


def probe_of(ticks: tuple[int, ...], container: str = "mpegts") -> Probe:
    index = FrameIndex(ticks, (0,), (0,), "packets")
    track = make_video_track(frames=index, frame_rate=Fraction(25), time_base=FRAME_S / 4, constant_rate=False)
    return make_probe(video=track, container=container)


@pytest.mark.parametrize(
    ("ticks", "container", "holes"),
    [
        ((0, 4, 8, 20, 24), "mpegts", 1),
        ((0, 4, 8, 20, 24), "mov,mp4,m4a,3gp,3g2,mj2", 0),  # a file loses no packets: the gap is intended
        ((0, 4, 8, 14, 20, 24), "mpegts", 0),  # the frame rate varies
    ],
)
def test_a_gap_counts_as_damage_only_in_a_transport_stream(ticks: tuple[int, ...], container: str, holes: int) -> None:
    known = probe_of(ticks, container)

    assert len(damage.find_missing_frames(known, checked_picture(known))) == holes


def test_adjacent_damage_is_merged_and_repeats_count_once() -> None:
    def one(start_s: Fraction, stream: int = 0) -> Damage:
        return Damage(stream, start_s, start_s + FRAME_S, 1)

    found = merged([one(Fraction(5)), one(Fraction(0)), one(Fraction(1, 2)), one(Fraction(0)), one(Fraction(0), 1)])

    assert [(d.stream, d.start_s, d.end_s, d.errors) for d in found] == [
        (0, 0, Fraction(27, 50), 2),
        (0, 5, Fraction(126, 25), 1),
        (1, 0, FRAME_S, 1),
    ]
    assert str(one(Fraction(75))) == "01:15.000–01:15.040 (1 in stream 0)"


@pytest.mark.parametrize("change", [lambda path: path, lambda path: blank(path, [30])], ids=["undamaged", "damaged"])
def test_a_scan_in_a_separate_process_finds_the_same(change: Callable[[Path], Path], tmp_path: Path) -> None:
    path = change(film(tmp_path / "film.mp4", codec_args=("-g", "25", "-bf", "0")))
    reading = ReadRange(0, Fraction(0), FRAME_S, Fraction(1), Fraction(1), Fraction(2))

    here = damage.scan(master_of(path), str(path), [reading])

    assert sandbox.scan_damage(master_of(path), str(path), (reading,)) == here


def test_a_scan_of_a_missing_master_raises_a_master_error(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    master = master_of(path)
    path.unlink()

    with pytest.raises(MasterError, match="there is no file"):
        sandbox.scan_damage(master, str(path), (ReadRange(0, Fraction(0), FRAME_S, None, Fraction(0), Fraction(2)),))
