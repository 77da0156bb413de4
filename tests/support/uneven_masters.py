"""Masters with irregular timing: small films that beep at certain pictures, with changed packets."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from headend.core import boxes
from tests.support.masters import Sound, make_film, make_sound, run_ffmpeg

RATE = Fraction(25)
BEEPS_S = tuple(number / RATE for number in (13, 38, 63, 88))


def beeping(path: Path, codec: str = "aac", *, frame_count: int = 100, codec_args: tuple[str, ...] = ()) -> Path:
    """Return a film of 4 s, 25 numbered pictures a second, that beeps at each of `BEEPS_S`."""
    sound = (Sound(frequency_hz=1000, codec=codec, beeps_s=BEEPS_S),)
    return make_film(
        path, frame_rate=RATE, frame_count=frame_count, size=(160, 90),
        codec_args=("-g", "25", "-bf", "0", *codec_args),
        sound=sound, output_args=("-strict", "-2"),
    )  # fmt: skip


def without_sound(path: Path, film: Path, *spans_s: tuple[float, float]) -> Path:
    """Copy a film without the packets of sound that begin in a span."""
    drop = "+".join(rf"gte(pts*tb\,{start})*lt(pts*tb\,{end})" for start, end in spans_s)
    return _copied(path, film, "-bsf:a", f"noise=drop={drop}")


def with_times(path: Path, film: Path, *, sound: str = "TS", picture: str = "TS") -> Path:
    """Copy a film with other timestamps: expressions of the ``setts`` filter."""
    return _copied(path, film, "-bsf:a", f"setts=ts={sound}", "-bsf:v", f"setts=ts={picture}")


def _copied(path: Path, film: Path, *args: str) -> Path:
    run_ffmpeg("-i", str(film), "-map", "0", "-c", "copy", *args, "-strict", "-2", str(path))
    return path


def with_edits(path: Path, *tracks: Sequence[tuple[int, int | None, float]], version: int = 0) -> Path:
    """Replace the edit lists of a MOV whose index is at its end.

    Args:
        path: The file.
        tracks: Of each track in turn, its edits: a duration in ms, a start in ticks of the track (None for nothing),
            and a speed.
        version: Version of the box.
    """
    data = path.read_bytes()
    moov = boxes.find(data, "moov")
    assert moov.end == len(data)
    (film_ticks,) = struct.unpack_from(">I", data, boxes.find(data, "mvhd", moov).body + 12)
    body = b""
    entries = iter(tracks)
    for child in boxes.children(data, moov.body, moov.end):
        whole = data[child.start : child.end]
        if child.kind == "trak" and (edits := next(entries, None)) is not None:
            parts = [data[part.start : part.end] for part in boxes.children(data, child.body, child.end)]
            parts = [part for part in parts if part[4:8] != b"edts"]
            whole = boxes.box(b"trak", b"".join((parts[0], _edit_box(edits, version, film_ticks), *parts[1:])))
        body += whole
    path.write_bytes(data[: moov.start] + boxes.box(b"moov", body))
    return path


def _edit_box(edits: Sequence[tuple[int, int | None, float]], version: int, film_ticks: int) -> bytes:
    shape = ">Qqi" if version else ">Iii"
    rows = (
        struct.pack(shape, duration_ms * film_ticks // 1000, -1 if start is None else start, round(speed * (1 << 16)))
        for duration_ms, start, speed in edits
    )
    header = struct.pack(">B3xI", version, len(edits))
    return boxes.box(b"edts", boxes.box(b"elst", header + b"".join(rows)))


def in_two_edits(film: Path) -> Path:
    """Write an edit list of two adjacent stretches into a MOV of 4 s with reordered pictures."""
    # The first frame is shown two frames late, as reordering needs.
    picture, sound = [(2000, 1024, 1.0), (2000, 26624, 1.0)], [(2000, 0, 1.0), (2000, 96_000, 1.0)]
    return with_edits(film, picture, sound)


def with_sound_of(path: Path, picture: Path, sound: Path, *, picture_s: int) -> Path:
    """Join the picture of one film, whose last frame lasts until ``picture_s``, and the sound of another."""
    run_ffmpeg(
        "-i", str(picture), "-i", str(sound), "-map", "0:v", "-map", "1:a", "-c", "copy",
        "-bsf:v", f"setts=duration={picture_s}/TB-PTS", str(path),
    )  # fmt: skip
    return path


def joined_pictures(path: Path, *parts: tuple[int, str]) -> Path:
    """Join films of H.264, each with a number of pictures and a filter, and with parameter sets in the stream."""
    whole = path.with_suffix(".264")
    data = b""
    for frame_count, filters in parts:
        film = make_film(
            path.with_stem("part").with_suffix(".mkv"), frame_rate=RATE, frame_count=frame_count, size=(160, 90),
            codec_args=("-g", "25", "-bf", "0"), filters=filters,
            pixel_format="yuv422p" if "422" in filters else "yuv420p",
        )  # fmt: skip
        data += run_ffmpeg("-i", str(film), "-map", "0:v", "-c", "copy", "-f", "h264", "-")
    whole.write_bytes(data)
    tag = ("-tag:v", "avc3") if path.suffix == ".mp4" else ()
    run_ffmpeg("-r", str(RATE), "-i", str(whole), "-c", "copy", *tag, str(path))
    return path


def joined_sound(folder: Path, codec: str, first: str, second: str, suffix: str) -> Path:
    """Join two films of 4 s, without encoding, under the headers of the first one.

    Args:
        folder: The folder to write to.
        codec: FFmpeg's encoder of their sound.
        first: Sample rate and channels of the first part, such as ``48000:stereo``.
        second: The same of the second part.
        suffix: Chooses the container.
    """
    listing = folder / "parts.txt"
    for number, sound in enumerate((first, second)):
        rate_hz, channels = sound.split(":")
        # Each part keeps its time base, which FFmpeg's concat assumes to be equal.
        part = folder / f"part{number}{'.mkv' if codec in ('libopus', 'libvorbis', 'flac', 'pcm_s16le') else '.mp4'}"
        run_ffmpeg(
            "-f", "lavfi", "-i", "testsrc2=s=64x36:r=25:d=4", "-f", "lavfi", "-i", f"sine=r={rate_hz}:d=4",
            "-af", f"aformat=channel_layouts={channels}", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0",
            "-g", "25", "-c:a", codec, str(part),
        )  # fmt: skip
    listing.write_text(f"file 'part0{part.suffix}'\nfile 'part1{part.suffix}'\n")
    path = folder / f"joined{suffix}"
    run_ffmpeg("-v", "quiet", "-f", "concat", "-i", str(listing), "-c", "copy", str(path))
    return path


BT709 = "zscale=matrix=709:primaries=709:transfer=709:range=limited,format=yuv420p"
BT601 = "zscale=matrix=170m:primaries=170m:transfer=601:range=limited,format=yuv420p"
FULL_RANGE = "zscale=matrix=709:primaries=709:transfer=709:range=full,format=yuv420p"
UNTAGGED = f"{BT709},setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown:range=unknown"
PQ = "zscale=matrix=2020_ncl:primaries=2020:transfer=smpte2084:npl=203,format=yuv420p10le"


def one_colour(path: Path, *kinds: str) -> Path:
    """Make a film of parts of a second that show the same colour in different numbers, joined in a transport stream."""
    data = b""
    for kind in kinds:
        source = "color=c=0xC05030:s=160x96:r=25:d=1,format=gbrp,setparams=color_primaries=bt709:color_trc=bt709"
        codec = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "4", "-g", "25", "-bf", "0", "-f", "h264")
        data += run_ffmpeg("-f", "lavfi", "-i", source, "-vf", kind, *codec, "-")
    path.with_suffix(".264").write_bytes(data)
    run_ffmpeg("-r", str(RATE), "-i", str(path.with_suffix(".264")), "-c", "copy", str(path))
    return path


def lost_parameter_sets(path: Path) -> Path:
    """HEVC of two sizes under the parameter sets of the first one, as FFmpeg's concat leaves it."""
    listing = path.with_suffix(".txt")
    for number, size in enumerate(((160, 90), (128, 72))):
        make_film(path.with_name(f"part{number}.mp4"), codec="libx265", frame_count=50, size=size, noise=40)
    listing.write_text("file 'part0.mp4'\nfile 'part1.mp4'\n")
    run_ffmpeg("-f", "concat", "-i", str(listing), "-c", "copy", str(path))
    return path


JUMP = r"TS+gte(TS*TB\,2)*0.4/TB"
BACK = r"TS-gte(TS*TB\,1.7)*0.3/TB"


@dataclass(frozen=True, slots=True)
class UnevenMaster:
    """A kind of master, and how it is made in a folder."""

    name: str
    about: str
    make: Callable[[Path], Path]


def _film(folder: Path, codec: str = "aac", suffix: str = ".mkv") -> Path:
    return beeping(folder / f"film{suffix}", codec)


def _twice(folder: Path) -> Path:
    film = _film(folder, suffix=".ts")
    film.write_bytes(beeping(folder / "bumper.ts", frame_count=25).read_bytes() + film.read_bytes())
    return film


def _edited(folder: Path) -> Path:
    film = _film(folder, "pcm_s16le", ".mov")
    return with_edits(film, [(1000, 0, 1.0), (500, None, 1.0), (1000, 25600, 1.0)])


def _still(folder: Path) -> Path:
    picture = beeping(folder / "one.mkv", frame_count=1)
    return with_sound_of(folder / "still.mp4", picture, _film(folder), picture_s=4)


def _open_still(folder: Path) -> Path:
    picture, sound = beeping(folder / "one.mkv", frame_count=1), _film(folder)
    run_ffmpeg(
        "-i", str(picture), "-i", str(sound), "-map", "0:v", "-map", "1:a", "-c", "copy", str(folder / "still.mkv")
    )
    return folder / "still.mkv"


def _joined(folder: Path) -> Path:
    return in_two_edits(beeping(folder / "film.mov", "pcm_s16le", codec_args=("-bf", "2")))


def _held(folder: Path) -> Path:
    picture = beeping(folder / "half.mkv", frame_count=50)
    return with_sound_of(folder / "held.mp4", picture, _film(folder), picture_s=4)


def _six_then_two(folder: Path) -> Path:
    film = _film(folder, "ac3", ".ts")
    six = make_sound(folder / "six.ac3", sound=(Sound(layout="5.1", codec="ac3"),))
    two = run_ffmpeg("-i", str(film), "-map", "0:a", "-c", "copy", "-f", "ac3", "-")
    (folder / "both.ac3").write_bytes(two + six.read_bytes())
    return with_sound_of(folder / "changing.ts", film, folder / "both.ac3", picture_s=4)


KINDS: tuple[UnevenMaster, ...] = (
    UnevenMaster("hole in the sound", "0.45 s of AAC packets are missing in MP4",
         lambda d: without_sound(d / "gap.mp4", _film(d), (0.7, 1.15))),
    UnevenMaster("long hole", "the same with 1.5 s", lambda d: without_sound(d / "gap.mp4", _film(d), (0.7, 2.2))),
    UnevenMaster("sound that drifts", "timestamps run 1 % slower than samples",
         lambda d: with_times(d / "drift.mkv", _film(d), sound="TS*1.01")),
    UnevenMaster("sound that is there twice", "timestamps go back by 0.3 s",
         lambda d: with_times(d / "twice.ts", _film(d), sound=BACK)),
    UnevenMaster("jump forward", "picture and sound jump by 0.4 s",
         lambda d: with_times(d / "jump.mkv", _film(d), sound=JUMP, picture=JUMP)),
    UnevenMaster("times begin again", "a bumper, then the film, starting at 0 again", _twice),
    UnevenMaster("one late picture", "the last of 100 pictures comes 15 ms late",
         lambda d: with_times(d / "late.mkv", _film(d), picture=r"TS+gte(TS*TB\,3.95)*0.015/TB")),
    UnevenMaster("edit list with a pause", "two stretches with an empty half second between them", _edited),
    UnevenMaster(
        "edits that follow each other", "two adjacent stretches of H.264 with reordering", _joined
    ),
    UnevenMaster("still", "one picture that lasts 4 s", _still),
    UnevenMaster("still without a length", "one picture in Matroska, and 4 s of sound", _open_still),
    UnevenMaster("held last picture", "50 pictures; the last one lasts 2 s", _held),
    UnevenMaster("other size on the way", "160x90, then 128x72 from 2.4 s on",
         lambda d: joined_pictures(d / "joined.ts", (60, "scale=160:90"), (40, "scale=128:72"))),
    UnevenMaster("other colours on the way", "BT.709, then the same colour in the numbers of BT.601",
         lambda d: one_colour(d / "colours.ts", BT709, BT709, BT601)),
    UnevenMaster("HDR on the way", "SDR, then PQ", lambda d: one_colour(d / "range.ts", BT709, PQ)),
    UnevenMaster("HEVC that lost its parameter sets", "two sizes, joined in MP4 under the header of the first",
         lambda d: lost_parameter_sets(d / "lost.mp4")),
    UnevenMaster("other channels on the way", "AC-3 stereo, then 5.1", _six_then_two),
    UnevenMaster("PCM that loses a channel", "stereo, then mono, joined in MOV under the header of stereo",
         lambda d: joined_sound(d, "pcm_s16le", "48000:stereo", "48000:mono", ".mov")),
)  # fmt: skip
