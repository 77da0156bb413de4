"""Makers of small, real masters: FFmpeg encodes numbered frames (see `frame_numbers`) on request.

Each distinct film is encoded once per test run and copied to where the test wants it.
"""

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path

import imageio_ffmpeg

from headend.core import boxes
from headend.core.media import Crop, Master
from tests.support.frame_numbers import draw_frame
from tests.support.once import made_once

BEEP_S = Fraction(1, 25)
_CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6, "7.1": 8}


@dataclass(frozen=True, slots=True)
class Sound:
    """A sine wave, or beeps of it, on all channels, as long as the picture.

    Attributes:
        frequency_hz: Its pitch.
        layout: ``mono``, ``stereo``, ``5.1`` or ``7.1``.
        codec: FFmpeg's encoder.
        language: ISO 639-2; empty for none.
        title: The track's title; empty for none.
        disposition: Value of FFmpeg's option ``-disposition``.
        start_s: When it begins.
        beeps_s: Starts of beeps of `BEEP_S`, counted from its beginning; empty for a continuous tone.
        amplitude: Share of full scale; 0 for silence.
    """

    frequency_hz: int = 440
    layout: str = "stereo"
    codec: str = "aac"
    language: str = "eng"
    title: str = ""
    disposition: str = "0"
    start_s: Fraction = Fraction(0)
    beeps_s: tuple[Fraction, ...] = ()
    amplitude: float = 0.125


def make_film(
    path: Path,
    *,
    frame_rate: Fraction = Fraction(25),
    frame_count: int = 50,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    codec_args: Sequence[str] = (),
    pixel_format: str = "yuv420p",
    filters: str = "",
    sound: Sequence[Sound] = (),
    start_s: Fraction = Fraction(0),
    noise: int = 4,
    output_args: Sequence[str] = (),
) -> Path:
    """Make a film whose frames carry their numbers, from 0.

    Args:
        path: The file to write; its suffix chooses the container.
        frame_rate: Frames per second.
        frame_count: Frames, before any ``filters``.
        size: Width and height, even.
        codec: FFmpeg's encoder; libx264 and libx265 get a fast preset.
        codec_args: More options of the encoder, such as ``("-g", "250", "-bf", "3")``.
        pixel_format: Pixel format of the encoded picture.
        filters: FFmpeg video filters.
        sound: Tracks of sound.
        start_s: When the picture begins.
        noise: Amplitude of the noise in the picture; 40 makes big files.
        output_args: Options of the output, such as ``("-movflags", "+faststart")``.
    """
    film = _film(
        path.suffix, frame_rate, frame_count, size, codec, tuple(codec_args), pixel_format, filters, tuple(sound),
        start_s, noise, tuple(output_args),
    )  # fmt: skip
    shutil.copyfile(film, path)
    return path


def encode_pictures(
    path: Path,
    pictures: bytes,
    *,
    size: tuple[int, int],
    frame_rate: Fraction,
    sound_s: Fraction,
    codec: str,
    pixel_format: str,
    raw_format: str = "yuv420p",
    raw_args: Sequence[str] = (),
    codec_args: Sequence[str] = (),
    filters: str = "",
    sound: Sequence[Sound] = (),
    start_s: Fraction = Fraction(0),
    output_args: Sequence[str] = (),
) -> None:
    """Encode raw pictures, and sound that lasts ``sound_s``; the rest as for `make_film`.

    Args:
        path: The file to write.
        pictures: The raw pictures, one after the other.
        size: Width and height of the pictures.
        frame_rate: Pictures per second.
        sound_s: How long each track of sound lasts.
        codec: FFmpeg's encoder.
        pixel_format: Pixel format of the encoded picture.
        raw_format: Pixel format of the raw pictures.
        raw_args: More input options, such as their colour.
        codec_args: Options of the encoder.
        filters: FFmpeg video filters.
        sound: Tracks of sound.
        start_s: When the picture begins.
        output_args: Options of the output.
    """
    presets = {
        "libx264": ("-preset", "veryfast"),
        "libx265": ("-preset", "ultrafast", "-x265-params", "log-level=none"),
    }
    run_ffmpeg(
        "-itsoffset", _seconds(start_s),
        "-f", "rawvideo", "-pix_fmt", raw_format, "-s", f"{size[0]}x{size[1]}", *raw_args,
        # Not -r, which ignores -itsoffset and lets frames begin at 0.
        "-framerate", str(frame_rate), "-i", "pipe:0",
        *_sound_inputs(sound, sound_s),
        "-map", "0:v", *(("-vf", filters) if filters else ()),
        "-fps_mode", "passthrough", "-c:v", codec, *presets.get(codec, ()), *codec_args, "-pix_fmt", pixel_format,
        *_sound_outputs(sound, first_input=1), *output_args, str(path),
        stdin=pictures,
    )  # fmt: skip


def make_sound(path: Path, *, duration_s: Fraction = Fraction(2), sound: Sequence[Sound] = (Sound(),)) -> Path:
    """Make a file with sound and no picture."""
    run_ffmpeg(*_sound_inputs(sound, duration_s), *_sound_outputs(sound, first_input=0), str(path))
    return path


def rewrap(path: Path, source: Path, *output_args: str, input_args: Sequence[str] = ()) -> Path:
    """Copy all streams of ``source`` into another file, without encoding."""
    run_ffmpeg(*input_args, "-i", str(source), "-map", "0", "-c", "copy", *output_args, str(path))
    return path


def with_dolby_vision(path: Path, profile: int, compatibility: int) -> Path:
    """State Dolby Vision in an MP4 or MOV, whose index is at its end (``dvcC``, ``dvvC`` from profile 8 on)."""
    # Version 1.0, level 1, and that there is a base layer with metadata.
    record = bytes([1, 0, profile << 1, 1 << 3 | 0b101, compatibility << 4]) + bytes(19)
    return _with_box(path, b"dvcC" if profile < 8 else b"dvvC", record)


def with_clean_aperture(path: Path, size: tuple[int, int], crop: Crop) -> Path:
    """State the visible part of the picture in a MOV whose index is at its end (``clap``)."""
    # Offset of its centre from the whole picture's.
    across, down = (
        2 * start + length - whole
        for start, length, whole in zip((crop.left_px, crop.top_px), (crop.width_px, crop.height_px), size, strict=True)
    )
    numbers = (crop.width_px, 1, crop.height_px, 1, across, 2, down, 2)
    return _with_box(path, b"clap", struct.pack(">IIIIiIiI", *numbers))


def _with_box(path: Path, kind: bytes, body: bytes) -> Path:
    """Put a box at the end of the first track's sample entry."""
    data = path.read_bytes()
    parents: list[boxes.Box] = []
    for name in ("moov", "trak", "mdia", "minf", "stbl", "stsd"):
        parents.append(boxes.find(data, name, parents[-1] if parents else None))
    parents.append(next(boxes.children(data, parents[-1].body + 8, parents[-1].end)))
    added = struct.pack(">I4s", len(body) + 8, kind) + body
    grown = bytearray(data[: parents[-1].end] + added + data[parents[-1].end :])
    for box in parents:
        struct.pack_into(">I", grown, box.start, box.end - box.start + len(added))
    path.write_bytes(grown)
    return path


def master_of(path: Path, url: str | None = None) -> Master:
    """Return the `Master` of a file that a test has made."""
    return Master(url=url or str(path), size_bytes=path.stat().st_size, digest="sha256:00", version="1")


def decoded_times_s(path: Path) -> tuple[Fraction, ...]:
    """Return the time of each decoded frame of the first real picture track, in seconds, according to FFmpeg.

    Source: FFmpeg's ``framecrc`` muxer writes ``stream, dts, pts, duration, size, checksum`` per frame.
    """
    listing = run_ffmpeg(
        "-copyts", "-i", str(path), "-map", "0:V:0", "-fps_mode", "passthrough", "-enc_time_base", "demux",
        "-f", "framecrc", "-",
    ).decode()  # fmt: skip
    time_base = Fraction(next(line.split()[-1] for line in listing.splitlines() if line.startswith("#tb 0:")))
    rows = [line.split(",") for line in listing.splitlines() if line and not line.startswith("#")]
    return tuple(int(row[2]) * time_base for row in rows)


def run_ffmpeg(*args: str, stdin: bytes = b"") -> bytes:
    """Run the FFmpeg that encodes; return what it writes to its standard output."""
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *args]
    if stdin:
        argv.remove("-nostdin")
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stderr.decode()}"
    return done.stdout


@cache
def _film(
    suffix: str,
    frame_rate: Fraction,
    frame_count: int,
    size: tuple[int, int],
    codec: str,
    codec_args: tuple[str, ...],
    pixel_format: str,
    filters: str,
    sound: tuple[Sound, ...],
    start_s: Fraction,
    noise: int,
    output_args: tuple[str, ...],
) -> Path:
    width, height = size
    name = f"film{suffix}"

    def make(folder: Path) -> None:
        encode_pictures(
            folder / name,
            b"".join(draw_frame(number, width, height, noise=noise) for number in range(frame_count)),
            size=size,
            frame_rate=frame_rate,
            sound_s=frame_count / frame_rate,
            codec=codec,
            codec_args=codec_args,
            pixel_format=pixel_format,
            filters=filters,
            sound=sound,
            start_s=start_s,
            output_args=output_args,
        )

    wanted = (
        suffix, frame_rate, frame_count, size, codec, codec_args, pixel_format, filters, sound, start_s, noise,
        output_args,
    )  # fmt: skip
    return made_once(sha256(repr(wanted).encode()).hexdigest()[:32], make) / name


def _sound_inputs(sound: Sequence[Sound], duration_s: Fraction) -> list[str]:
    args: list[str] = []
    for track in sound:
        channels = "|".join(f"c{channel}=c0" for channel in range(_CHANNELS[track.layout]))
        heard = "+".join(f"gte(t,{_seconds(at)})*lt(t,{_seconds(at + BEEP_S)})" for at in track.beeps_s) or "1"
        wave = f"{track.amplitude}*sin(2*PI*{track.frequency_hz}*t)*({heard})"
        source = f"aevalsrc=exprs='{wave}':sample_rate=48000:duration={float(duration_s)}"
        args += ["-itsoffset", _seconds(track.start_s), "-f", "lavfi", "-i", f"{source},pan={track.layout}|{channels}"]
    return args


def _sound_outputs(sound: Sequence[Sound], *, first_input: int) -> list[str]:
    args: list[str] = []
    for number, track in enumerate(sound):
        args += ["-map", f"{first_input + number}:a", f"-c:a:{number}", track.codec]
        args += [f"-disposition:a:{number}", track.disposition]
        args += [f"-metadata:s:a:{number}", f"language={track.language}"] if track.language else []
        args += [f"-metadata:s:a:{number}", f"title={track.title}"] if track.title else []
    return args


def _seconds(time_s: Fraction) -> str:
    return f"{float(time_s):.6f}"
