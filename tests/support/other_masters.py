"""More kinds of difficult masters: odd channels, late or empty sound, several programs, soft telecine."""

from fractions import Fraction
from pathlib import Path

from tests.support.channels import make_channels
from tests.support.masters import Sound, make_film, rewrap, run_ffmpeg, with_dolby_vision
from tests.support.uneven_masters import BEEPS_S, UnevenMaster, beeping, joined_sound

FILM_RATE = Fraction(24000, 1001)
_TOP_FIRST, _REPEAT = 0x80, 0x02


def with_repeated_fields(path: Path, *, frame_count: int = 96, video_s: tuple[int, int] = (0, 0)) -> Path:
    """Make a film as on a DVD: MPEG-2 at 24000/1001 that repeats every fourth field (``repeat_first_field``).

    Args:
        path: The file to write, a program stream.
        frame_count: Pictures of film.
        video_s: Start and end, in seconds, of a part without repeated fields, as in an insert that was shot on video.

    Source: ISO/IEC 13818-2, sections 6.2.2.3 and 6.2.3.1.
    """
    film = make_film(
        path.with_suffix(".mkv"), frame_rate=FILM_RATE, frame_count=frame_count, size=(160, 90), codec="mpeg2video",
        codec_args=("-g", "12", "-bf", "2", "-q:v", "2"),
        sound=[Sound(frequency_hz=1000, codec="ac3", beeps_s=BEEPS_S)],
    )  # fmt: skip
    data = bytearray(run_ffmpeg("-i", str(film), "-map", "0:v", "-c", "copy", "-f", "mpeg2video", "-"))
    group = number = 0
    at = data.find(b"\0\0\1")
    while at >= 0:
        code = data[at + 3]
        if code == 0xB3:
            data[at + 7] = data[at + 7] & 0xF0 | 4  # 30000/1001 frames a second
        elif code == 0xB8:
            group = number
        elif code == 0x00:
            # Pictures are numbered in the order in which they are shown, within a group.
            shown = group + (data[at + 4] << 2 | data[at + 5] >> 6)
            number += 1
        elif code == 0xB5 and data[at + 4] >> 4 == 1:
            data[at + 5] &= ~0x08  # not progressive throughout
        elif code == 0xB5 and data[at + 4] >> 4 == 8:
            is_video = video_s[0] <= shown / FILM_RATE < video_s[1]
            fields = _TOP_FIRST if is_video else (_TOP_FIRST | _REPEAT, 0, _REPEAT, _TOP_FIRST)[shown % 4]
            data[at + 7] = data[at + 7] & ~(_TOP_FIRST | _REPEAT) & 0xFF | fields
            data[at + 8] |= 0x80  # whole frames
        at = data.find(b"\0\0\1", at + 3)
    stream, sound = path.with_suffix(".m2v"), path.with_suffix(".ac3")
    stream.write_bytes(data)
    run_ffmpeg("-i", str(film), "-map", "0:a", "-c", "copy", str(sound))
    run_ffmpeg(
        "-f", "mpegvideo", "-i", str(stream), "-i", str(sound), "-map", "0:v", "-map", "1:a", "-c", "copy",
        "-f", "vob", str(path),
    )  # fmt: skip
    return path


def _two_programs(folder: Path) -> Path:
    films = [beeping(folder / f"{name}.ts") for name in ("one", "two")]
    inputs = [word for film in films for word in ("-i", str(film))]
    run_ffmpeg(
        *inputs, "-map", "0", "-map", "1", "-c", "copy", "-program", "program_num=1:st=0:st=1", "-program",
        "program_num=2:st=2:st=3", str(folder / "programs.ts"),
    )  # fmt: skip
    return folder / "programs.ts"


def _dead_stream(folder: Path) -> Path:
    film = beeping(folder / "film.ts", "ac3")
    dead = ("-map", "0:a", "-bsf:a:1", r"noise=drop=gte(pts\,-999999999)")
    run_ffmpeg("-i", str(film), "-map", "0", *dead, "-c", "copy", str(folder / "dead.ts"))
    return folder / "dead.ts"


def _late_sound(folder: Path) -> Path:
    film = beeping(folder / "film.ts", "ac3", codec_args=("-b:v", "8M", "-minrate", "8M", "-bufsize", "8M"))
    run_ffmpeg(
        "-i", str(film), "-itsoffset", "3", "-i", str(film), "-map", "0:v", "-map", "1:a", "-c", "copy", "-muxdelay",
        "0", "-t", "4", str(folder / "late.ts"),
    )  # fmt: skip
    return folder / "late.ts"


def _dolby_5(folder: Path) -> Path:
    film = make_film(
        folder / "dolby.mp4", codec="libx265", pixel_format="yuv420p10le", size=(160, 90), frame_count=25,
        output_args=("-tag:v", "hvc1"),
    )  # fmt: skip
    return with_dolby_vision(film, 5, 0)


KINDS: tuple[UnevenMaster, ...] = (
    UnevenMaster("film order of channels", "5.1 of PCM in MOV as L C R Ls Rs LFE, said by its chan",
         lambda d: make_channels(d / "order.mov", ["FL", "FC", "FR", "BL", "BR", "LFE"], layout="5.1",
                                 stated_layout="L C R Ls Rs LFE")),
    UnevenMaster("hexagonal", "AAC of six channels that are not 5.1",
         lambda d: make_channels(d / "hexagonal.mp4", ["FL", "FR", "FC", "BL", "BR", "BC"], layout="hexagonal",
                                 codec="aac", codec_args=("-b:a", "384k"))),
    UnevenMaster("eight channels without names", "four stereo pairs in one element of MXF",
         lambda d: make_channels(d / "eight.mxf", ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"], layout="8C")),
    UnevenMaster("late sound", "AC-3 that begins three seconds into a transport stream", _late_sound),
    UnevenMaster("dead stream", "a second sound that never comes", _dead_stream),
    UnevenMaster("two programs", "a transport stream of two programs", _two_programs),
    UnevenMaster("soft telecine", "film in MPEG-2 that repeats fields",
         lambda d: with_repeated_fields(d / "telecine.vob")),
    UnevenMaster("slides", "a picture every five seconds",
         lambda d: make_film(d / "slides.mp4", frame_rate=Fraction(1, 5), frame_count=3, size=(160, 90))),
    UnevenMaster("grey", "raw grey in AVI",
         lambda d: make_film(d / "grey.avi", codec="rawvideo", pixel_format="gray", size=(160, 90), frame_count=25)),
    UnevenMaster("tilde", "a file whose name begins with a tilde", lambda d: beeping(d / "~film.mp4")),
    UnevenMaster("Dolby Vision 5", "HEVC that nothing else can show", _dolby_5),
    UnevenMaster("AVI with B-frames", "MPEG-4 that says nothing of when it is shown",
         lambda d: rewrap(d / "film.avi", make_film(d / "film.mp4", codec="mpeg4", codec_args=("-bf", "2"),
                                                    size=(160, 90)))),
    UnevenMaster("another rate under one header", "AAC at 48 kHz, then 44.1 kHz",
         lambda d: joined_sound(d, "aac", "48000:stereo", "44100:stereo", ".mp4")),
    UnevenMaster("other channels under one header", "AAC stereo, then mono",
         lambda d: joined_sound(d, "aac", "48000:stereo", "48000:mono", ".ts")),
)  # fmt: skip
