"""The coefficients of headend's cost model: CPU seconds and memory of encoders and filters on this machine.

Every encoder runs alone, on ready-made frames of a cartoon and of a street, with the options that headend gives it for
a rung of the studio ladder, at two sizes; a power law through the two gives all others. CPU seconds of one thread
hardly depend on what else the machine does.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ffmpeg as ffmpeg_python
import msgspec

import encoder
from benchmarks import clips
from benchmarks.clips import ffmpeg
from encoder import filter_graphs
from encoder.costs import SAFE, Costs, Curve
from encoder.families import AUDIO, VIDEO, Style
from encoder.picture.colour import tone_mapped
from headend.core import documents
from headend.core.media import AudioRendition, Codec, Colour, Effort, VideoRange, VideoRendition
from headend.core.process import Finished
from ladders import loading
from ladders.ladder import RungRange, VideoRung
from ladders.levels import smallest_level

SIZES_PX = ((640, 360), (1280, 720))
FRAMES, QUICK_FRAMES = 48, 6
"""Of both films together: more than any encoder looks ahead."""
COARSER = 8.0
"""Steps of crf between the two encodes that show what coarser pictures save."""
LARGE_PX, LARGE_FRAMES = (3840, 2160), 40
RATE = 25
SOUND_S = 60
DECODED = {
    "prores": ("-pix_fmt", "yuv422p10le", "-c:v", "prores_aw", "-profile:v", "3"),
    "dnxhd": ("-pix_fmt", "yuv422p10le", "-c:v", "dnxhd", "-profile:v", "dnxhr_hqx"),
    "mpeg2video": ("-pix_fmt", "yuv422p", "-c:v", "mpeg2video", "-b:v", "50M", "-g", "12"),
    "jpeg2000": ("-pix_fmt", "yuv422p10le", "-c:v", "jpeg2000"),
    "ffv1": ("-pix_fmt", "yuv422p10le", "-c:v", "ffv1", "-level", "3"),
    "h264": ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "50"),
    "hevc": ("-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-crf", "12"),
}
"""What masters come in, as FFmpeg makes them."""
COLOUR = Colour("bt709", "bt709", "bt709", "tv", "left")
MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        what: What ran.
        cpu_s: CPU seconds.
        memory_mb: Peak memory.
    """

    what: str
    cpu_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Check:
    """Memory of a task that makes one rendition of 2160p from a master of that size, at the least effort.

    Attributes:
        codec: Of the rendition.
        measured_mb: Peak of its process.
        reserved_mb: What a worker keeps free for it.
    """

    codec: Codec
    measured_mb: float
    reserved_mb: float


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, and what follows from it.

    Attributes:
        frames: Frames of each run.
        runs: All of them.
        costs: The coefficients.
        checks: Their forecast of memory against what is needed.
    """

    frames: int
    runs: tuple[Measured, ...]
    costs: Costs
    checks: tuple[Check, ...]


class _Bench:
    """Runs things one after the other and keeps what they took."""

    def __init__(self, folder: Path, frames: int, on_step: Callable[[str], None]) -> None:
        self.folder = folder
        self.frames = frames
        self.runs: list[Measured] = []
        self._on_step = on_step
        self._bare: dict[tuple[tuple[int, int], str], Finished] = {}

    def run(self, what: str, *args: str) -> Finished:
        self._on_step(what)
        done = ffmpeg(*args, "-threads", "1", "-f", "null", "-")
        self.runs.append(Measured(what, done.cpu_s, done.peak_memory_bytes / MEGA))
        return done

    def ready(self, size: tuple[int, int], pixel_format: str) -> list[str]:
        """Frames of both films, as input that needs no decoding."""
        path = self.folder / f"{size[0]}-{pixel_format}.yuv"
        if not path.exists():
            films = [word for name in (clips.FILM, clips.STREET) for word in ("-i", str(clips.locate(name)))]
            scale = f"scale={size[0]}:{size[1]}:flags=lanczos,setsar=1,fps={RATE},{clips.GRAIN}"
            cut = f"trim=end_frame={self.frames // 2}"
            graph = f"[0:v]{scale},{cut}[a];[1:v]{scale},{cut}[b];[a][b]concat=n=2,format={pixel_format}"
            ffmpeg(*films, "-filter_complex", graph, "-f", "rawvideo", str(path))
        return [
            *("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", f"{size[0]}x{size[1]}", "-r", str(RATE)),
            *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-i", str(path)),
        ]

    def bare(self, size: tuple[int, int], pixel_format: str) -> Finished:
        """What reading such frames takes by itself; measured once."""
        key = (size, pixel_format)
        if key not in self._bare:
            self._bare[key] = self.run(f"reading {size[1]} lines of {pixel_format}", *self.ready(size, pixel_format))
        return self._bare[key]


def measure(*, quick: bool = False, on_step: Callable[[str], None] = lambda _: None) -> Report:
    """Measure all coefficients.

    Args:
        quick: A few frames: shows that all works, not what it costs.
        on_step: Told what runs.

    Raises:
        ConfigError: A film is not installed.
        ToolFailed: FFmpeg failed.
    """
    frames = QUICK_FRAMES if quick else FRAMES
    with TemporaryDirectory(prefix="headend-bench-") as name:
        bench = _Bench(Path(name), frames, on_step)
        start = bench.run("starting", "-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04", "-c:v", "libx264")
        decode_s, decode_mb = _decoding(bench)
        large = SIZES_PX[-1]
        deep = "yuv420p10le"
        bare = bench.bare(large, deep)
        pixels, smaller = large[0] * large[1] / MEGA, SIZES_PX[0][0] * SIZES_PX[0][1] / MEGA

        def filtered(what: str, graph: str) -> float:
            return max(0.0, bench.run(what, *bench.ready(large, deep), "-vf", graph).cpu_s - bare.cpu_s) / frames

        costs = Costs(
            start_s=start.cpu_s,
            start_mb=start.peak_memory_bytes / MEGA,
            decode_megapixel_s=decode_s,
            decode_other_s=median(decode_s.values()),
            decode_megapixel_mb=decode_mb,
            scale_megapixel_s=filtered(
                "scaling", f"zscale={SIZES_PX[0][0]}:{SIZES_PX[0][1]}:filter=lanczos:range=limited,format={deep}"
            )
            / (pixels + smaller),
            tone_map_megapixel_s={
                each: filtered(f"tone mapping of {each}", _tone_map(each)) / pixels for each in TRANSFERS
            },
            deinterlace_megapixel_s=filtered("deinterlacing", "bwdif=mode=send_field:parity=tff:deint=all") / pixels,
            sound_s=dict(_sounds(bench)),
            loudness_s=_loudness_s(bench),
            video={codec: {e: _curve(bench, codec, e) for e in Effort} for codec in VIDEO},
        )
        checks = () if quick else tuple(_checks(bench, costs))
    return Report(frames, tuple(bench.runs), costs, checks)


TRANSFERS = {VideoRange.PQ: "smpte2084", VideoRange.HLG: "arib-std-b67"}


def _tone_map(video_range: VideoRange) -> str:
    """The encoder's own steps."""
    said = ffmpeg_python.input("-").filter(
        "setparams", color_primaries="bt2020", color_trc=TRANSFERS[video_range], colorspace="bt2020nc"
    )
    return filter_graphs.chain(tone_mapped(said, video_range))


def _decoding(bench: _Bench) -> tuple[dict[str, float], float]:
    """CPU seconds for a million pixels, by codec; megabytes for a million pixels, of the one that takes most."""
    size = SIZES_PX[-1]
    pixels = size[0] * size[1] / MEGA
    seconds, memory = {}, []
    for codec, words in DECODED.items():
        path = bench.folder / f"{codec}.mkv"
        ffmpeg(*bench.ready(size, "yuv420p10le"), *words, str(path))
        done = bench.run(f"decoding {codec}", "-threads", "1", "-i", str(path))
        seconds[codec] = done.cpu_s / bench.frames / pixels
        memory.append(done.peak_memory_bytes / MEGA / pixels)
    return seconds, max(memory)


NOISE = ("-f", "lavfi", "-i", f"anoisesrc=sample_rate=48000:duration={SOUND_S},aformat=channel_layouts=5.1")
NOISE_CHANNELS = 6


def _sounds(bench: _Bench) -> Iterator[tuple[Codec, float]]:
    for codec, family in AUDIO.items():
        rendition = AudioRendition("sound", codec, "5.1", NOISE_CHANNELS, 384_000, 48_000, 1, "en", "English")
        yield codec, bench.run(f"sound in {codec}", *NOISE, *_words(family(rendition))).cpu_s / SOUND_S / NOISE_CHANNELS


def _loudness_s(bench: _Bench) -> float:
    done = bench.run("loudness", *NOISE, "-af", "ebur128=peak=true:framelog=quiet")
    return done.cpu_s / SOUND_S / NOISE_CHANNELS


def _checks(bench: _Bench, costs: Costs) -> Iterator[Check]:
    """Whether the memory that was extrapolated is enough where it matters: a whole task of 2160p, for each codec."""
    width, height = LARGE_PX
    master = bench.folder / "large.mkv"
    film = ("-stream_loop", "-1", "-i", str(clips.locate()), "-frames:v", str(LARGE_FRAMES), "-map", "0:v")
    ffmpeg(*film, "-vf", f"scale={width}:{height}", *DECODED["prores"], str(master))
    for codec in VIDEO:
        rendition = _rendition(codec, LARGE_PX)
        words = _words(VIDEO[codec](rendition, Style(Effort.DRAFT, 2 * RATE, COLOUR)))
        steps = f"zscale={width}:{height}:filter=lanczos:range=limited,format={rendition.pixel_format}"
        done = bench.run(f"a task of {codec} in 2160p", "-threads", "1", "-i", str(master), "-vf", steps, *words)
        curve = costs.video[codec][Effort.DRAFT]
        pixels = width * height / MEGA
        foretold_mb = costs.start_mb + (costs.decode_megapixel_mb + curve.megapixel_mb) * pixels
        yield Check(codec, done.peak_memory_bytes / MEGA, foretold_mb * SAFE)


def _curve(bench: _Bench, codec: Codec, effort: Effort) -> Curve:
    """A power law through two sizes."""
    seconds, pixels, memory_mb = [], [], 0.0
    small, large = SIZES_PX
    fine = _rendition(codec, large)
    coarse = replace(fine, crf=fine.crf + COARSER)
    for size, made in ((small, _rendition(codec, small, fine.crf)), (large, fine), (large, coarse)):
        cpu_s, peak_bytes = _encoded(bench, made, effort, size)
        reading = bench.bare(size, made.pixel_format)
        seconds.append(max(1e-6, cpu_s - reading.cpu_s) / bench.frames)
        pixels.append(size[0] * size[1] / MEGA)
        memory_mb = max(memory_mb, (peak_bytes - reading.peak_memory_bytes) / MEGA)
    exponent = math.log(seconds[1] / seconds[0]) / math.log(pixels[1] / pixels[0])
    return Curve(
        crf=fine.crf,
        crf_growth=math.log(seconds[2] / seconds[1]) / COARSER,
        frame_s=seconds[1] / pixels[1] ** exponent,
        exponent=exponent,
        # Of the larger size alone: a small process seems as large as the one that has started it.
        megapixel_mb=max(1.0, memory_mb / pixels[1]),
    )


def _encoded(bench: _Bench, rendition: VideoRendition, effort: Effort, size: tuple[int, int]) -> tuple[float, int]:
    """CPU seconds and peak memory of an encode, with both passes where there are two."""
    options = VIDEO[rendition.codec](rendition, Style(effort, 2 * RATE, COLOUR))
    log = ("-passlogfile", str(bench.folder / "pass")) if "pass" in options else ()
    runs = [
        bench.run(
            f"{rendition.codec} {effort} {size[1]} crf {rendition.crf:g}" + (f", pass {number}" if log else ""),
            *bench.ready(size, rendition.pixel_format),
            *_words({**options, "pass": number} if log else options),
            *log,
        )
        for number in ((1, 2) if log else (1,))
    ]
    # Frames are read once more for a first pass, as a worker decodes them once more.
    return sum(run.cpu_s for run in runs), max(run.peak_memory_bytes for run in runs)


def _rendition(codec: Codec, size: tuple[int, int], crf: float | None = None) -> VideoRendition:
    """The studio ladder's best rung of a size, for a picture that fills it; ``crf`` in the place of its own."""
    rungs = [r for r in loading.load("studio").video if r.codec is codec and r.range is RungRange.SDR]
    rung: VideoRung = min(rungs, key=lambda r: (abs(r.height_px - size[1]), -r.average_kbps))
    deep = codec in (Codec.HEVC, Codec.AV1)
    level = smallest_level(codec, *size, Fraction(RATE), rung.cap_kbps)
    assert level is not None
    return VideoRendition(
        id=f"{codec}-{size[1]}p",
        codec=codec,
        width_px=size[0],
        height_px=size[1],
        frame_rate=Fraction(RATE),
        rate_divisor=1,
        average_bps=rung.average_kbps * 1000,
        cap_bps=rung.cap_kbps * 1000,
        buffer_bits=rung.buffer_kb * 1000,
        crf=rung.crf if crf is None else crf,
        profile={Codec.AVC: "high", Codec.HEVC: "main10", Codec.AV1: "main", Codec.VP9: "0"}[codec],
        level=level.name,
        pixel_format="yuv420p10le" if deep else "yuv420p",
        video_range=VideoRange.SDR,
    )


def keep_as_installed(costs: Costs) -> None:
    """Make these the coefficients that plans are made by."""
    path = Path(encoder.__file__).with_name("costs.json")
    path.write_bytes(msgspec.json.format(documents.write(costs)) + b"\n")


def _words(options: Mapping[str, str | int | float]) -> list[str]:
    return [word for name, value in options.items() for word in (f"-{name}", str(value))]
