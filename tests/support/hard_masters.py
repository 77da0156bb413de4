"""Kinds of delivered masters, two seconds of each, in one table with the expected results.

All kinds show the same picture. Its upper part carries the picture's number, a band below flashes twice while the sound
beeps, and the bottom has eight patches of the same light in every kind, whatever numbers represent it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headend.core.media import Colour, Crop
from headend.core.settings import AudioChoice, Cropping, SubtitleOffset, TextChoice
from tests.support.captions import PLAIN, add_captions
from tests.support.colours import Array, codes_of, signal_of
from tests.support.damage import blank
from tests.support.frame_numbers import number_cells, read_frame_number
from tests.support.masters import Sound, encode_pictures, rewrap, run_ffmpeg, with_clean_aperture, with_dolby_vision
from tests.support.text import Shown, ass, srt, ttml

NUMBER_SHARE, BAND_SHARE = 0.6, 0.7
"""Shares of the height at which the flashing band and the patches begin."""
DARK, BRIGHT = 0.15**2.4, 0.85**2.4
_LOW, _HIGH = 0.2**2.4, 0.6**2.4
PATCHES: Array = np.array(
    [[_HIGH if bits & mask else _LOW for mask in (4, 2, 1)] for bits in (7, 6, 3, 2, 5, 4, 1)]
    + [[0.4**2.4] * 3]
)  # fmt: skip
"""Bars and a grey, as linear light in BT.709 primaries; dim enough not to be changed by tone mapping."""
_RAMP_STEPS = 48
FLASH_PICTURES = 2

BT709 = Colour("bt709", "bt709", "bt709", "tv", "left")
BT601_525 = Colour("smpte170m", "smpte170m", "smpte170m", "tv", "left")
BT601_625 = Colour("bt470bg", "smpte170m", "bt470bg", "tv", "left")
FULL_RANGE = Colour("bt709", "bt709", "bt709", "pc", "left")
PQ = Colour("bt2020", "smpte2084", "bt2020nc", "tv", "left")
DISPLAY_P3 = Colour("smpte432", "bt709", "bt709", "tv", "left")
BT2020_SDR = Colour("bt2020", "bt2020-10", "bt2020nc", "tv", "left")
HLG = Colour("bt2020", "arib-std-b67", "bt2020nc", "tv", "left")

_X265_PQ = (
    "hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=error:keyint=24:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
)
_X265_HLG = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:log-level=error:keyint=24"
_FILM_RATE, _NTSC_RATE = Fraction(24000, 1001), Fraction(30000, 1001)
_INTERLACED = ("-g", "12", "-crf", "12", "-flags", "+ildct+ilme")


@dataclass(frozen=True)
class HardMaster:
    """A kind of master: how to make it, and what to expect of every rendition.

    Attributes:
        name: In a few words.
        about: Origin or difficulty of such masters.
        suffix: The file name's suffix.
        picture_rate: Pictures drawn per second; for interlaced film, fields.
        pictures: Number of drawn pictures.
        size: Of a picture, upright and with square pixels.
        colour: The colour encoding.
        tagged: Whether the file states the colour.
        raw_format: Pixel format that is drawn: planar Y'CbCr, or ``rgb24``.
        pixel_format: Pixel format that is encoded; ``raw_format`` where empty.
        codec: FFmpeg's encoder.
        codec_args: Its options.
        filters: FFmpeg filters between drawing and encoding.
        output_args: Options of the container.
        rewrapped: Options of input and output of a second pass, which copies streams; empty for none.
        altered: Changes the finished file; None for no change.
        start_s: When the file begins.
        times_ms: When each picture is shown; empty for a constant rate.
        sound: Tracks that beep; empty for silence.
        sound_late_s: How much later than the picture the sound begins.
        sound_longer_s: How much later than the picture the sound ends, if both begin together.
        audio: Requested sound.
        text: Requested text; a sidecar's source is its name.
        beside: Files beside it, by name.
        crop: Requested cropping.
        subtitle_offset: Requested offset of files beside it.
        allow_damaged: Whether damage is to be concealed.
        says: The cues of each programme of text, by the part of the rendition's id after the codec.
        damage: Expected records of damage.
        rate: Frames per second of the result; None for `picture_rate`.
        shown: Number of the picture that each frame of the result shows; empty for each picture once.
        rendition_size: Size of the largest rendition in a box of 320x180.
        decided: Part of the plan's line about it.
        all_codecs: Whether it is encoded by every codec instead of H.264 and AAC only.
        sync_frames: Largest distance of flash and beep, in frames; larger only if frames are moved.
        most_delta_e: Largest CIEDE2000 difference of a patch.
    """

    name: str
    about: str
    suffix: str = "mp4"
    picture_rate: Fraction = Fraction(25)
    pictures: int = 55
    size: tuple[int, int] = (320, 180)
    colour: Colour = BT709
    tagged: bool = True
    raw_format: str = "yuv420p"
    pixel_format: str = ""
    codec: str = "libx264"
    codec_args: tuple[str, ...] = ("-g", "25")
    filters: str = ""
    output_args: tuple[str, ...] = ()
    rewrapped: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    altered: Callable[[Path], object] | None = None
    start_s: Fraction = Fraction(0)
    times_ms: tuple[int, ...] = ()
    sound: tuple[Sound, ...] = field(default=(Sound(frequency_hz=1000),))
    sound_late_s: Fraction = Fraction(0)
    sound_longer_s: Fraction = Fraction(0)
    audio: tuple[AudioChoice, ...] = ()
    text: tuple[TextChoice, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()
    crop: Cropping = Cropping.NONE
    subtitle_offset: SubtitleOffset = Fraction(0)
    allow_damaged: bool = False
    says: tuple[tuple[str, tuple[Shown, ...]], ...] = ()
    damage: tuple[str, ...] = ()
    rate: Fraction | None = None
    shown: tuple[int, ...] = ()
    rendition_size: tuple[int, int] = (320, 180)
    decided: str = ""
    all_codecs: bool = False
    sync_frames: Fraction = Fraction(1, 4)
    most_delta_e: float = 2.5

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second of the result."""
        return self.rate or self.picture_rate

    @property
    def hdr(self) -> bool:
        """Whether it is PQ or HLG."""
        return self.colour in (PQ, HLG)

    @property
    def wide(self) -> bool:
        """Whether it is SDR of a wider gamut than BT.709."""
        return self.colour in (DISPLAY_P3, BT2020_SDR)

    @property
    def frames(self) -> tuple[int, ...]:
        """Number of the picture in each frame of the result."""
        return self.shown or tuple(range(self.pictures))

    @property
    def times_s(self) -> tuple[Fraction, ...]:
        """Time of each picture of the master, relative to the first."""
        if self.times_ms:
            return tuple(Fraction(time_ms, 1000) for time_ms in self.times_ms)
        return tuple(number / self.picture_rate for number in range(self.pictures))

    @property
    def flashes(self) -> tuple[int, int]:
        """Pictures with which the band begins to flash, near both ends."""
        end_s = self.times_s[-1] - Fraction(2, 5)
        first = min((number for number, time_s in enumerate(self.times_s) if time_s >= Fraction(3, 5)), default=0)
        last = max((number for number, time_s in enumerate(self.times_s) if time_s <= end_s), default=0)
        return first + first % 2, last - last % 2

    def make(self, folder: Path) -> Path:
        """Make the master; its file is called ``master``."""
        path = folder / f"master.{self.suffix}"
        encoded = folder / f"encoded.{self.suffix}" if any(self.rewrapped) else path
        picture_s = self.start_s + max(Fraction(0), -self.sound_late_s)
        sound_s = picture_s + self.sound_late_s
        beeps_s = tuple(self.times_s[number] - self.sound_late_s for number in self.flashes)
        draw = Painter(self)
        encode_pictures(
            encoded,
            b"".join(draw(number) for number in range(self.pictures)),
            size=self.size,
            frame_rate=self.picture_rate,
            sound_s=self.times_s[-1] + 1 / self.picture_rate + self.sound_longer_s,
            codec=self.codec,
            codec_args=self.codec_args,
            pixel_format=self.pixel_format or self.raw_format,
            raw_format=self.raw_format,
            raw_args=_tags(self.colour) if self.tagged else (),
            filters=",".join(filter(None, (self.filters, _at_times(self.times_ms)))),
            sound=[
                Sound(track.frequency_hz, track.layout, track.codec, start_s=sound_s, beeps_s=beeps_s)
                for track in self.sound
            ],
            start_s=picture_s,
            output_args=(*(_tags(self.colour) if self.tagged else ()), *self.output_args),
        )
        if encoded != path:
            input_args, output_args = self.rewrapped
            rewrap(path, encoded, *output_args, input_args=input_args)
            encoded.unlink()
        if self.altered:
            self.altered(path)
        for name, content in self.beside:
            (folder / name).write_text(content, encoding="utf-8")
        return path

    def submit_options(self, folder: Path) -> dict[str, Any]:
        """Arguments of `submit_small` for the master that was made in a folder."""
        text = tuple(replace(c, source=str(folder / c.source)) if c.is_sidecar else c for c in self.text)
        return {
            "audio": self.audio,
            "text": text,
            "crop": self.crop,
            "allow_damaged": self.allow_damaged,
            "subtitle_offset": self.subtitle_offset,
        }


class Painter:
    """Draws the pictures of a kind."""

    def __init__(self, master: HardMaster) -> None:
        self._master = master
        width, height = master.size
        self._number_rows, band_end = round(NUMBER_SHARE * height), round(BAND_SHARE * height)
        self._band = slice(self._number_rows, band_end)
        labels = np.zeros((height, width), dtype=np.intp)
        labels[band_end:] = 2 + np.arange(width) * len(PATCHES) // width
        self._labels = labels

    @cached_property
    def _palette(self) -> npt.NDArray[np.uint16]:
        """Numbers in the file for: dark, bright, each patch, and steps of grey between."""
        greys = np.linspace(0.3, 0.7, _RAMP_STEPS) ** 2.4
        light = np.vstack([np.full(3, DARK), np.full(3, BRIGHT), PATCHES, np.repeat(greys[:, None], 3, axis=1)])
        signal = signal_of(light, self._master.colour)
        if self._master.raw_format == "rgb24":
            return np.rint(255 * signal).astype(np.uint16)
        return np.rint(codes_of(signal, self._master.colour, _bit_depth(self._master.raw_format))).astype(np.uint16)

    def __call__(self, number: int) -> bytes:
        """Return one picture, in the raw format."""
        width, _ = self._master.size
        labels = self._labels
        # Steps of grey that move, so that every picture differs from its neighbours everywhere around the number.
        ramp = 2 + len(PATCHES) + (np.arange(width) * _RAMP_STEPS // width + 2 * number) % _RAMP_STEPS
        labels[: self._number_rows] = ramp
        inside, bits = number_cells(_gray(number), width, self._number_rows)
        labels[inside] = bits
        labels[self._band] = any(0 <= number - first < FLASH_PICTURES for first in self._master.flashes)
        return self._as_raw(self._palette[labels])

    def _as_raw(self, samples: npt.NDArray[np.uint16]) -> bytes:
        name = self._master.raw_format
        words = samples.astype(np.uint8 if _bit_depth(name) == 8 else np.dtype("<u2"))
        if name == "rgb24":
            return words.tobytes()
        rows, columns = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[name[3:6]]
        chroma = words[::rows, ::columns]
        return words[..., 0].tobytes() + chroma[..., 1].tobytes() + chroma[..., 2].tobytes()


@dataclass(frozen=True, slots=True)
class Reading:
    """Contents of one picture.

    Attributes:
        number: The picture's number; None if it can't be read, as in a mixture of two.
        band: Mean of the flashing band's luma.
        patches: Mean Y', Cb and Cr of each patch.
    """

    number: int | None
    band: float
    patches: Array


def read_picture(planes: Sequence[npt.NDArray[np.uint8] | npt.NDArray[np.uint16]], bit_depth: int) -> Reading:
    """Read a decoded picture, from its planes of Y', Cb and Cr."""
    luma = planes[0]
    number_end, band_end = (round(share * luma.shape[0]) for share in (NUMBER_SHARE, BAND_SHARE))
    number = read_frame_number(luma[:number_end], bit_depth=bit_depth)
    margin = max(1, (band_end - number_end) // 4)
    band = luma[number_end + margin : band_end - margin]
    return Reading(
        None if number is None else _from_gray(number),
        float(band.mean()),
        np.array([[_patch(plane, index) for plane in planes] for index in range(len(PATCHES))]),
    )


def _patch(plane: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], place: int) -> float:
    """Mean of the middle of a patch, away from its edges."""
    height, width = plane.shape
    top, step = BAND_SHARE * height, width / len(PATCHES)
    rows = slice(round(top + 0.35 * (height - top)), round(top + 0.65 * (height - top)))
    return float(plane[rows, round((place + 0.35) * step) : round((place + 0.65) * step)].mean())


def _gray(number: int) -> int:
    """Return a Gray code: neighbours differ in one bit, so that no bit flickers from field to field."""
    return number ^ number >> 1


def _from_gray(code: int) -> int:
    number = 0
    while code:
        number, code = number ^ code, code >> 1
    return number


def _bit_depth(pixel_format: str) -> int:
    return next((depth for depth in (10, 12) if f"p{depth}" in pixel_format), 8)


def _tags(colour: Colour) -> tuple[str, ...]:
    return (
        "-color_primaries", colour.primaries, "-color_trc", colour.transfer, "-colorspace", colour.matrix,
        "-color_range", colour.range,
    )  # fmt: skip


def _at_times(times_ms: Sequence[int]) -> str:
    if not times_ms:
        return ""
    steps = "+".join(f"eq(N,{number})*{time_ms}" for number, time_ms in enumerate(times_ms))
    return f"settb=1/1000,setpts='{steps}'"


def _jittered_ms() -> tuple[int, ...]:
    """Return the frame times of a phone at 30 frames per second: jitter, a slow stretch in the dark, and a hiccup."""
    gaps = [33] * 20 + [50] * 12 + [33] * 8 + [100] + [33] * 14
    jitter = np.random.default_rng(7).integers(-4, 5, len(gaps) + 1)
    times = np.concatenate([[0], np.cumsum(gaps)]) + jitter
    return tuple(int(time) for time in times - times[0])


def _on_grid(times_ms: Sequence[int], rate: Fraction) -> tuple[int, ...]:
    ticks = [int(Fraction(time_ms, 1000) * rate + Fraction(1, 2)) for time_ms in times_ms]
    return tuple(max(n for n, tick in enumerate(ticks) if tick <= at) for at in range(ticks[-1] + 1))


_JITTERED_MS = _jittered_ms()
_PCM = (Sound(frequency_hz=1000, codec="pcm_s16le"),)
_SEEN = Crop(320, 180, 12, 8)
_AROUND = (352, 200)
_LINES: tuple[Shown, ...] = ((120, 900, "Grüße"), (700, 2100, "over two borders\nand others"))
_LATER = [(start + 36_000_000, end + 36_000_000, text) for start, end, text in _LINES]
_SIGNS: tuple[Shown, ...] = ((1040, 1960, "SORTIE"),)
_CAPTIONS = ((20, 45, "HELLO WORLD"),)


def _state_aperture(path: Path) -> None:
    with_clean_aperture(path, _AROUND, _SEEN)


def _state_crop(path: Path) -> None:
    """Remux to Matroska, into which FFmpeg writes the crop that it read from MOV."""
    stated = path.with_suffix(".mov")
    rewrap(stated, path)
    _state_aperture(stated)
    rewrap(path, stated)
    stated.unlink()


def _add_subtitles(path: Path) -> None:
    """Add subtitles in English and German, and forced French."""
    whole = path.with_stem("titled")
    inputs: list[str] = []
    for number, cues in enumerate((_LINES, _LINES[1:], _SIGNS)):
        path.with_name(f"{number}.srt").write_text(srt(cues), encoding="utf-8")
        inputs += ["-i", str(path.with_name(f"{number}.srt"))]
    run_ffmpeg(
        "-i", str(path), *inputs, "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c", "copy",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger", "-metadata:s:s:2", "language=fre",
        "-disposition:s:2", "forced", str(whole),
    )  # fmt: skip
    whole.replace(path)


_MONO_PAIR = (Sound(frequency_hz=1000, layout="mono", codec="pcm_s16le"),) * 2

KINDS: tuple[HardMaster, ...] = (
    HardMaster("constant rate", "25 frames a second, H.264, BT.709: the simple case"),
    HardMaster(
        "film rate, ProRes 4:2:2",
        "24000/1001 frames a second, 10 bits, 4:2:2: the usual output of film editing",
        suffix="mov",
        picture_rate=_FILM_RATE,
        raw_format="yuv422p10le",
        codec="prores_ks",
        codec_args=(),
        sound=_PCM,
    ),
    HardMaster(
        "59.94 frames a second",
        "60000/1001; low rungs get half the rate",
        picture_rate=Fraction(60000, 1001),
        pictures=121,
        codec_args=("-g", "48"),
    ),
    HardMaster(
        "120 frames a second",
        "twice the highest delivered rate: every second frame is dropped",
        picture_rate=Fraction(120),
        pictures=193,
        codec_args=("-g", "60"),
    ),
    HardMaster(
        "variable rate",
        "from a phone: jitter, slow stretches, hiccups",
        suffix="mkv",
        picture_rate=Fraction(30),
        pictures=len(_JITTERED_MS),
        times_ms=_JITTERED_MS,
        codec_args=("-g", "25", "-enc_time_base", "filter"),
        rate=_NTSC_RATE,  # as near as 30, over two seconds
        shown=_on_grid(_JITTERED_MS, _NTSC_RATE),
        decided="variable frame rate",
        sync_frames=Fraction(1),
    ),
    HardMaster(
        "interlaced, top field first",
        "25 frames of two fields a second: European broadcast",
        size=(320, 240),
        picture_rate=Fraction(50),
        pictures=110,
        filters="interlace=scan=tff:lowpass=off,setfield=tff",
        codec_args=_INTERLACED,
        rendition_size=(240, 180),
        decided="interlaced tff",
    ),
    HardMaster(
        "interlaced, not flagged",
        "fields in a file that does not declare them: found by analysis",
        size=(640, 480),
        picture_rate=Fraction(50),
        pictures=80,
        filters="interlace=scan=tff:lowpass=off,setfield=prog",
        rendition_size=(240, 180),
        decided="interlaced tff, though not flagged",
    ),
    HardMaster(
        "DV, bottom field first",
        "PAL tape, anamorphic 16:9, BT.601 of 625 lines",
        suffix="mov",
        size=(1024, 576),
        colour=BT601_625,
        picture_rate=Fraction(50),
        pictures=80,
        filters="scale=720:576:flags=bicubic,interlace=scan=bff:lowpass=off,setfield=bff,setsar=64/45",
        codec="dvvideo",
        codec_args=("-flags", "+ildct"),
        sound=_PCM,
        decided="interlaced bff",
    ),
    HardMaster(
        "3:2 telecine",
        "film at 24000/1001 in 59.94 fields a second: American broadcast",
        size=(320, 240),
        picture_rate=_FILM_RATE,
        pictures=64,
        filters="telecine=first_field=top:pattern=23,setfield=tff",
        codec_args=_INTERLACED,
        rendition_size=(240, 180),
        decided="telecine",
    ),
    HardMaster(
        "portrait, turned by 90°",
        "a phone held upright: stored as landscape, with a display matrix",
        suffix="mov",
        size=(180, 320),
        filters="transpose=cclock",
        rewrapped=(("-display_rotation:v:0", "-90"), ()),
        rendition_size=(180, 320),
        decided="rotated by 90 degrees",
    ),
    HardMaster(
        "mirrored",
        "left and right swapped by a display matrix, as from a phone's front camera",
        suffix="mov",
        filters="hflip",
        rewrapped=(("-display_hflip:v:0",), ()),
        decided="picture mirrored",
    ),
    HardMaster(
        "mirrored and turned",
        "upside down and then turned, by a display matrix",
        suffix="mov",
        size=(180, 320),
        filters="vflip,transpose=cclock",
        rewrapped=(("-display_rotation:v:0", "-90", "-display_vflip:v:0"), ()),
        rendition_size=(180, 320),
        decided="picture mirrored",
    ),
    HardMaster(
        "Display P3, 10 bits",
        "a wide gamut in SDR: kept in renditions with 10 bits, BT.709 in H.264",
        suffix="mov",
        colour=DISPLAY_P3,
        raw_format="yuv422p10le",
        codec="prores_ks",
        codec_args=(),
        sound=_PCM,
        all_codecs=True,
        decided="Display P3 in SDR → kept in renditions of 10 bits, converted to BT.709 in those of 8",
    ),
    HardMaster(
        "BT.2020 in SDR",
        "UHD broadcasts without HDR",
        suffix="mkv",
        colour=BT2020_SDR,
        raw_format="yuv420p10le",
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "10", "-x265-params", "keyint=25:log-level=error"),
        sound=_PCM,
        decided="BT.2020 in SDR",
    ),
    HardMaster(
        "Dolby Vision 8.1",
        "HDR10 with Dolby's metadata: the base layer is encoded",
        picture_rate=Fraction(24),
        colour=PQ,
        raw_format="yuv420p10le",
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "10", "-x265-params", _X265_PQ, "-tag:v", "hvc1"),
        altered=lambda path: with_dolby_vision(path, 8, 1),
        decided="Dolby Vision profile 8.1 → its base layer (HDR10)",
    ),
    HardMaster(
        "anamorphic pixels",
        "stored 240x180, shown 16:9 by pixels of 4:3",
        filters="scale=240:180:flags=bicubic,setsar=4/3",
        decided="with 4:3 pixels: converted to square pixels, 320x180",
    ),
    HardMaster(
        "odd size, RGB",
        "321x181, 8 bits of RGB: graphics and animation",
        suffix="mkv",
        size=(321, 181),
        raw_format="rgb24",
        pixel_format="gbrp",
        tagged=False,
        colour=BT601_525,
        codec="ffv1",
        codec_args=(),
        sound=_PCM,
        decided="not stated → taken as smpte170m",
    ),
    HardMaster(
        "scope, 2.39:1",
        "wider than the boxes of a ladder",
        size=(430, 180),
        rendition_size=(320, 134),
    ),
    HardMaster(
        "4:4:4, 12 bits, full range",
        "an archive's FFV1 in Matroska",
        suffix="mkv",
        colour=FULL_RANGE,
        raw_format="yuv444p12le",
        codec="ffv1",
        codec_args=(),
        sound=(Sound(frequency_hz=1000, codec="flac"),),
    ),
    HardMaster(
        "full range, 8 bits",
        "from a camera or a phone",
        colour=FULL_RANGE,
        pixel_format="yuvj420p",
    ),
    HardMaster("BT.601", "NTSC colour, tagged as such", colour=BT601_525, all_codecs=True),
    HardMaster(
        "HDR10",
        "PQ with mastering metadata: kept in HEVC and AV1, tone-mapped for the rest",
        suffix="mov",
        picture_rate=Fraction(24),
        colour=PQ,
        raw_format="yuv420p10le",
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "10", "-x265-params", _X265_PQ, "-tag:v", "hvc1"),
        sound=_PCM,
        all_codecs=True,
    ),
    HardMaster(
        "HLG",
        "broadcasters' HDR",
        suffix="mov",
        colour=HLG,
        raw_format="yuv420p10le",
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "10", "-x265-params", _X265_HLG, "-tag:v", "hvc1"),
        sound=_PCM,
        all_codecs=True,
    ),
    HardMaster(
        "begins at 10 s, open GOPs",
        "a transport stream cut from a broadcast: MPEG-2, times far from 0",
        suffix="ts",
        start_s=Fraction(10),
        codec="mpeg2video",
        codec_args=("-g", "12", "-bf", "2", "-q:v", "3"),
        sound=(Sound(frequency_hz=1000, codec="mp2"),),
    ),
    HardMaster(
        "sound begins late",
        "a quarter of a second after the picture, and ends as much later",
        suffix="mkv",
        sound=_PCM,
        sound_late_s=Fraction(6, 25),
        decided="0.240 s after the picture → begins with silence",
    ),
    HardMaster(
        "sound begins early",
        "a quarter of a second before the picture, and ends as much earlier",
        suffix="mkv",
        sound=_PCM,
        sound_late_s=Fraction(-6, 25),
        decided="0.240 s before the picture → its beginning is cut",
    ),
    HardMaster(
        "sound too short", "ends before the picture", suffix="mov", sound=_PCM, sound_longer_s=Fraction(-1, 4),
        decided="0.250 s before the picture → ends with silence",
    ),
    HardMaster(
        "sound too long", "ends a second after the picture", suffix="mov", sound=_PCM, sound_longer_s=Fraction(1),
        decided="1.000 s after the picture → its end is cut",
    ),
    HardMaster(
        "edit list",
        "cut in the middle of a GOP without re-encoding: decoding starts at a keyframe that is not shown",
        pictures=75,
        codec_args=("-g", "50", "-bf", "2"),
        rewrapped=(("-ss", "0.48"), ()),
        shown=tuple(range(12, 75)),
    ),
    HardMaster("one keyframe", "to decode any chunk, FFmpeg starts at the film's beginning", codec_args=("-g", "999")),
    HardMaster(
        "open GOPs, B-pyramid",
        "H.264 whose frames refer across keyframes and to each other's B-frames",
        codec_args=("-g", "16", "-bf", "5", "-b_strategy", "2", "-flags", "-cgop",
                    "-x264-params", "open-gop=1:b-pyramid=normal"),
    ),
    HardMaster(
        "HEVC, open GOPs",
        "leading pictures of HEVC",
        suffix="mkv",
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "16", "-x265-params", "keyint=20:open-gop=1:log-level=error"),
    ),
    HardMaster(
        "MXF, mono pair",
        "MPEG-2 4:2:2 and two tracks of one channel, joined on request",
        suffix="mxf",
        pixel_format="yuv422p",
        codec="mpeg2video",
        codec_args=("-g", "12", "-bf", "2", "-b:v", "8M", "-maxrate", "8M", "-bufsize", "2M"),
        sound=_MONO_PAIR,
        audio=(AudioChoice((1, 2)),),
    ),
    HardMaster("no sound", "a picture only", sound=(), decided="no audio tracks"),
    HardMaster(
        "letterboxed",
        "a film between bars, which `--crop auto` cuts off",
        size=(320, 130),
        filters="pad=320:180:0:24",
        crop=Cropping.AUTO,
        rendition_size=(320, 130),
        decided="cropped to 320x130 at 0,24",
    ),
    HardMaster(
        "clean aperture, MOV",
        "blanking around the picture, declared by a `clap` box",
        suffix="mov",
        filters="pad=352:200:12:8",
        altered=_state_aperture,
        decided="clean aperture 320x180 at 12,8 of 352x200",
    ),
    HardMaster(
        "clean aperture, Matroska",
        "the same, declared by `PixelCrop`",
        suffix="mkv",
        filters="pad=352:200:12:8",
        altered=_state_crop,
        decided="clean aperture 320x180 at 12,8 of 352x200",
    ),
    HardMaster(
        "subtitles inside",
        "SubRip in English and German, and forced French",
        suffix="mkv",
        altered=_add_subtitles,
        says=(("en", _LINES), ("de", _LINES[1:]), ("fr-forced", _SIGNS)),
        decided="(subrip) → WebVTT, fr, forced",
    ),
    HardMaster(
        "captions in the picture",
        "CEA-608 in H.264 frames",
        suffix="mkv",
        codec_args=("-g", "25", *PLAIN),
        altered=lambda path: add_captions(path, _CAPTIONS),
        text=(TextChoice("captions", "en"),),
        says=(("en-sdh", ((800, 1800, "HELLO WORLD"),)),),
        decided="captions (CEA-608) in the picture → WebVTT",
    ),
    HardMaster(
        "TTML beside it",
        "a sidecar: WebVTT for all players, and IMSC",
        text=(TextChoice("pt.ttml", "pt-BR"),),
        beside=(("pt.ttml", ttml(_LINES)),),
        says=(("pt-BR", _LINES),),
        decided="(ttml) → WebVTT and IMSC",
    ),
    HardMaster(
        "subtitles at 10 hours",
        "an SRT file with the programme's time code and a broken block (`--subtitle-offset auto`)",
        text=(TextChoice("tape.srt", "en"),),
        beside=(("tape.srt", f"{srt(_LATER[:1])}\n7\n10:00:00;950 --> 10:00:01,000\n?\n\n{srt(_LATER[1:])}"),),
        subtitle_offset=None,
        says=(("en", _LINES),),
        decided="shown 10:00:00.000 earlier than the file says",
    ),
    HardMaster(
        "ASS beside it",
        "a drawing, text with a shadow, a hard space",
        text=(TextChoice("fan.ass", "fr"),),
        beside=(("fan.ass", ass([*[(120, 900, r"Gr\hüße")] * 2, (500, 1500, r"{\p1}m 0 0 l 9 9{\p0}")])),),
        says=(("fr", ((120, 900, "Gr\N{NO-BREAK SPACE}üße"),)),),
        decided="(ass) → WebVTT",
    ),
    HardMaster(
        "damaged, ProRes",
        "three blank frames, as from a bad disk, concealed with `--allow-damaged`",
        suffix="mov",
        raw_format="yuv422p10le",
        codec="prores_ks",
        codec_args=(),
        sound=_PCM,
        altered=lambda path: blank(path, (24, 25, 40)),
        allow_damaged=True,
        shown=(*range(24), 23, 23, *range(26, 40), 39, *range(41, 55)),
        damage=("00:00.960–00:01.640 (3 in stream 0)",),
        decided="silence inserted, recorded",
    ),
)  # fmt: skip
"""Every kind; names are unique."""
