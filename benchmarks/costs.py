"""Measures the coefficients of headend's cost model: CPU seconds and memory of encoders and filters on this machine.

Each encoder runs alone on raw frames of a cartoon and of a street, with headend's options for a rung of the studio
ladder, at two sizes; a power law through both gives other sizes. CPU seconds of one thread hardly depend on other load.

Then whole jobs are encoded and compared with two predictions: corrected by the speed of this machine, as for the first
job of a store, and corrected by the receipts of one earlier job of the store, with another film.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ffmpeg as ffmpeg_python
import msgspec

import encoder
from benchmarks import clips, renditions, ways
from benchmarks.clips import Mezzanine, ffmpeg
from encoder import filter_graphs
from encoder import speed as machine_speed
from encoder.costs import SAFE, Calibration, Costs, Curve, measured
from encoder.families import AUDIO, VIDEO
from encoder.picture.colour import tone_mapped
from headend.core import documents
from headend.core.media import AudioRendition, Codec, Effort, Receipt, VideoRange, VideoRendition
from headend.core.process import Finished

SIZES_PX = ((640, 360), (1280, 720))
FRAMES, QUICK_FRAMES = 48, 6
"""Frames of both films together; more than any encoder's lookahead."""
COARSER = 8.0
"""Difference of crf between the two encodes that measure its effect on the cost."""
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
"""Codecs of masters, with FFmpeg's options to make them."""
MEGA = 1_000_000
JOBS = (
    (Mezzanine.H264, clips.FILM, None, "web", Effort.STANDARD),
    (Mezzanine.PRORES, clips.FILM, (1920, 1080), "web", Effort.DRAFT),
    (Mezzanine.H264, clips.STREET, None, "studio", Effort.STANDARD),
)
"""Whole jobs: codec of the master, film, size to upscale to, ladder and effort."""
JOB_FRAMES, QUICK_JOB_FRAMES = 96, 12
EARLIER_FRAMES, EARLIER_CHUNKS = 48, 2
"""Length of the earlier job, whose receipts correct the prediction."""
JOB_TARGET = 0.2
"""Maximum relative error of a job's prediction."""
PARTS = ("coefficients", "jobs")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        what: Description of the run.
        cpu_s: CPU seconds.
        memory_mb: Peak memory.
    """

    what: str
    cpu_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Check:
    """Memory of a task with one 2160p rendition from a 2160p master, at the lowest effort.

    Attributes:
        codec: Codec of the rendition.
        measured_mb: Peak memory of its process.
        reserved_mb: Memory that a worker reserves for it.
    """

    codec: Codec
    measured_mb: float
    reserved_mb: float


@dataclass(frozen=True, slots=True)
class JobCheck:
    """Predicted and measured cost of a whole job.

    Attributes:
        name: Master, ladder and effort.
        renditions: Number of renditions.
        frames: Frames of the master.
        predicted_s: CPU seconds of all its tasks, predicted by the coefficients and the speed of this machine.
        learned_s: The prediction corrected by the receipts of an earlier job.
        took_s: Measured CPU seconds.
    """

    name: str
    renditions: int
    frames: int
    predicted_s: float
    learned_s: float
    took_s: float

    @property
    def first_off(self) -> float:
        """Relative error of the prediction for the first job of a store; positive if the job took longer."""
        return self.took_s / self.predicted_s - 1

    @property
    def off(self) -> float:
        """Relative error of the prediction for a later job of the store."""
        return self.took_s / self.learned_s - 1

    @property
    def met(self) -> bool:
        """Whether the target is reached, for a first and for a later job."""
        return max(abs(self.off), abs(self.first_off)) <= JOB_TARGET


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        frames: Frames of each run.
        runs: All runs.
        costs: The coefficients.
        checks: Reserved and measured memory.
        jobs: Predicted and measured cost of whole jobs.
    """

    frames: int
    runs: tuple[Measured, ...]
    costs: Costs
    checks: tuple[Check, ...]
    jobs: tuple[JobCheck, ...] = ()


class _Bench:
    """Runs FFmpeg commands one after another and records their costs."""

    def __init__(self, folder: Path, frames: int, on_step: Callable[[str], None]) -> None:
        self.folder = folder
        self.frames = frames
        self.runs: list[Measured] = []
        self._on_step = on_step
        self._reading: dict[tuple[tuple[int, int], str], Finished] = {}

    def run(self, what: str, *args: str) -> Finished:
        self._on_step(what)
        done = ffmpeg(*args, "-threads", "1", "-f", "null", "-")
        self.runs.append(Measured(what, done.cpu_s, done.peak_memory_bytes / MEGA))
        return done

    def raw_input(self, size: tuple[int, int], pixel_format: str) -> list[str]:
        """Write raw frames of both films, unless they exist, and return the options that read them."""
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

    def reading(self, size: tuple[int, int], pixel_format: str) -> Finished:
        """Return the cost of reading raw frames; it is measured once."""
        key = (size, pixel_format)
        if key not in self._reading:
            self._reading[key] = self.run(
                f"reading {size[1]} lines of {pixel_format}", *self.raw_input(size, pixel_format)
            )
        return self._reading[key]


def measure(
    parts: Collection[str] = PARTS,
    *,
    quick: bool = False,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure coefficients, and check them with whole jobs.

    Args:
        parts: Some of `PARTS`. Without ``coefficients``, jobs are predicted with the installed ones.
        quick: Use a few frames: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other parts are kept.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: A film is not installed.
        ToolFailed: FFmpeg failed.
    """
    report = earlier or Report(0, (), measured(), ())
    if "coefficients" in parts:
        report = replace(_coefficients(quick, on_step), jobs=report.jobs)
    if "jobs" in parts:
        costs = report.costs if "coefficients" in parts else measured()
        report = replace(report, jobs=tuple(_jobs(costs, QUICK_JOB_FRAMES if quick else JOB_FRAMES, on_step)))
    return report


def _jobs(costs: Costs, frames: int, on_step: Callable[[str], None]) -> Iterator[JobCheck]:
    """Encode whole jobs on one core, chunk by chunk."""
    speed = machine_speed.compared(machine_speed.measure().cpu_s)
    for kind, film, size_px, ladder, effort in JOBS:
        with TemporaryDirectory(prefix="headend-bench-") as name:
            folder = Path(name)
            described = f"{kind} of {film}, {ladder}, {effort}"
            on_step(f"a job: {described}")
            master = clips.make_master(kind, clips.locate(film), folder, frames, size_px)
            job = ways.job_for(master, ladder, lambda _: True, effort, chunk_s=Fraction(frames), costs=costs)
            known = _earlier(kind, film, size_px, ladder, effort, costs, folder / "earlier")
            learned = ways.job_for(
                master, ladder, lambda _: True, effort, chunk_s=Fraction(frames), costs=known.applied(costs)
            )
            first = ways.job_for(
                master, ladder, lambda _: True, effort, chunk_s=Fraction(frames), costs=speed.applied(costs)
            )
            predicted_s, learned_s = (sum(task.cost for task in each.plan.tasks) for each in (first, learned))
            done = ways.headend(job, folder, slots=1)
            yield JobCheck(described, len(job.renditions), frames, predicted_s, learned_s, done.cpu_s)


def _earlier(
    kind: Mezzanine,
    film: str,
    size_px: tuple[int, int] | None,
    ladder: str,
    effort: Effort,
    costs: Costs,
    folder: Path,
) -> Calibration:
    """Return the calibration that a store learns from a job with the same ladder and another film."""
    folder.mkdir()
    [other] = {clips.FILM, clips.STREET} - {film}
    master = clips.make_master(kind, clips.locate(other), folder, EARLIER_FRAMES, size_px)
    chunk_s = Fraction(EARLIER_FRAMES, EARLIER_CHUNKS * RATE)
    job = ways.job_for(master, ladder, lambda _: True, effort, chunk_s=chunk_s, costs=costs)
    receipts = []
    for task in job.plan.tasks:
        done = ways.headend_task(job, task, folder)
        receipts.append(
            Receipt(task.id, task.chunk.number, (), 1, "here", done.cpu_s, done.wall_s, done.peak_memory_bytes)
        )
    return Calibration().learned(job.plan, receipts, costs)


def _coefficients(quick: bool, on_step: Callable[[str], None]) -> Report:
    frames = QUICK_FRAMES if quick else FRAMES
    with TemporaryDirectory(prefix="headend-bench-") as name:
        bench = _Bench(Path(name), frames, on_step)
        start = bench.run("starting", "-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04", "-c:v", "libx264")
        decode_s, decode_mb = _decoding(bench)
        large = SIZES_PX[-1]
        deep = "yuv420p10le"
        reading = bench.reading(large, deep)
        pixels, smaller = large[0] * large[1] / MEGA, SIZES_PX[0][0] * SIZES_PX[0][1] / MEGA

        def filtered(what: str, graph: str) -> float:
            return max(0.0, bench.run(what, *bench.raw_input(large, deep), "-vf", graph).cpu_s - reading.cpu_s) / frames

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
            test_picture_s=dict(machine_speed.measure().cpu_s),
        )
        checks = () if quick else tuple(_checks(bench, costs))
    return Report(frames, tuple(bench.runs), costs, checks)


TRANSFERS = {VideoRange.PQ: "smpte2084", VideoRange.HLG: "arib-std-b67"}


def _tone_map(video_range: VideoRange) -> str:
    """Return the filters by which headend maps tones."""
    source = ffmpeg_python.input("-").filter(
        "setparams", color_primaries="bt2020", color_trc=TRANSFERS[video_range], colorspace="bt2020nc"
    )
    return filter_graphs.chain(tone_mapped(source, video_range))


def _decoding(bench: _Bench) -> tuple[dict[str, float], float]:
    """Return CPU seconds per million pixels by codec, and megabytes per million pixels, the maximum of all codecs."""
    size = SIZES_PX[-1]
    pixels = size[0] * size[1] / MEGA
    seconds, memory = {}, []
    for codec, words in DECODED.items():
        path = bench.folder / f"{codec}.mkv"
        ffmpeg(*bench.raw_input(size, "yuv420p10le"), *words, str(path))
        done = bench.run(f"decoding {codec}", "-threads", "1", "-i", str(path))
        seconds[codec] = done.cpu_s / bench.frames / pixels
        memory.append(done.peak_memory_bytes / MEGA / pixels)
    return seconds, max(memory)


NOISE = ("-f", "lavfi", "-i", f"anoisesrc=sample_rate=48000:duration={SOUND_S},aformat=channel_layouts=5.1")
NOISE_CHANNELS = 6


def _sounds(bench: _Bench) -> Iterator[tuple[Codec, float]]:
    for codec, family in AUDIO.items():
        rendition = AudioRendition("sound", codec, "5.1", NOISE_CHANNELS, 384_000, 48_000, 1, "en", "English")
        yield (
            codec,
            bench.run(f"sound in {codec}", *NOISE, *renditions.words(family(rendition))).cpu_s
            / SOUND_S
            / NOISE_CHANNELS,
        )


def _loudness_s(bench: _Bench) -> float:
    done = bench.run("loudness", *NOISE, "-af", "ebur128=peak=true:framelog=quiet")
    return done.cpu_s / SOUND_S / NOISE_CHANNELS


def _checks(bench: _Bench, costs: Costs) -> Iterator[Check]:
    """Compare extrapolated with measured memory for a whole 2160p task of each codec."""
    width, height = LARGE_PX
    master = bench.folder / "large.mkv"
    film = ("-stream_loop", "-1", "-i", str(clips.locate()), "-frames:v", str(LARGE_FRAMES), "-map", "0:v")
    ffmpeg(*film, "-vf", f"scale={width}:{height}", *DECODED["prores"], str(master))
    for codec in VIDEO:
        rendition = renditions.rendition(codec, LARGE_PX, Fraction(RATE))
        words = renditions.words(renditions.options(rendition, Effort.DRAFT, 2 * RATE))
        steps = f"zscale={width}:{height}:filter=lanczos:range=limited,format={rendition.pixel_format}"
        done = bench.run(f"a task of {codec} in 2160p", "-threads", "1", "-i", str(master), "-vf", steps, *words)
        curve = costs.video[codec][Effort.DRAFT]
        pixels = width * height / MEGA
        predicted_mb = costs.start_mb + (costs.decode_megapixel_mb + curve.megapixel_mb) * pixels
        yield Check(codec, done.peak_memory_bytes / MEGA, predicted_mb * SAFE)


def _curve(bench: _Bench, codec: Codec, effort: Effort) -> Curve:
    """Fit a power law to the costs of two sizes."""
    seconds, pixels, memory_mb = [], [], 0.0
    small, large = SIZES_PX
    fine = renditions.rendition(codec, large, Fraction(RATE))
    coarse = replace(fine, crf=fine.crf + COARSER)
    for size, rendition in (
        (small, renditions.rendition(codec, small, Fraction(RATE), fine.crf)),
        (large, fine),
        (large, coarse),
    ):
        cpu_s, peak_bytes = _encoded(bench, rendition, effort, size)
        reading = bench.reading(size, rendition.pixel_format)
        seconds.append(max(1e-6, cpu_s - reading.cpu_s) / bench.frames)
        pixels.append(size[0] * size[1] / MEGA)
        memory_mb = max(memory_mb, (peak_bytes - reading.peak_memory_bytes) / MEGA)
    exponent = math.log(seconds[1] / seconds[0]) / math.log(pixels[1] / pixels[0])
    return Curve(
        crf=fine.crf,
        crf_growth=math.log(seconds[2] / seconds[1]) / COARSER,
        frame_s=seconds[1] / pixels[1] ** exponent,
        exponent=exponent,
        # Use only the larger size: a small process appears as large as its parent.
        megapixel_mb=max(1.0, memory_mb / pixels[1]),
    )


def _encoded(bench: _Bench, rendition: VideoRendition, effort: Effort, size: tuple[int, int]) -> tuple[float, int]:
    """Return CPU seconds and peak memory of an encode, of both passes if there are two."""
    chosen = renditions.options(rendition, effort, 2 * RATE)
    log = ("-passlogfile", str(bench.folder / "pass")) if "pass" in chosen else ()
    runs = [
        bench.run(
            f"{rendition.codec} {effort} {size[1]} crf {rendition.crf:g}" + (f", pass {number}" if log else ""),
            *bench.raw_input(size, rendition.pixel_format),
            *renditions.words({**chosen, "pass": number} if log else chosen),
            *log,
        )
        for number in ((1, 2) if log else (1,))
    ]
    # A first pass reads all frames again, just as a worker decodes them again.
    return sum(run.cpu_s for run in runs), max(run.peak_memory_bytes for run in runs)


def keep_as_installed(costs: Costs) -> None:
    """Install these coefficients for planning."""
    path = Path(encoder.__file__).with_name("costs.json")
    path.write_bytes(msgspec.json.format(documents.write(costs)) + b"\n")
