"""Measures large stores: listing, garbage collection and publishing with many titles, long tracks, large plans.

All titles are the synthetic film of `benchmarks.packaging`; one in ten also has an earlier release with an extra track.
See `benchmarks.many_titles` for the store.
"""

import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.many_titles import PAGE, ManyTitles, first_titles, make_titles
from benchmarks.packaging import CHUNK_S, FRAME_RATE, SEGMENT_S, film_plan, store_with_parts
from benchmarks.scaling import plan_of
from benchmarks.synthetic import ENCODERS, MOVFLAGS, inits_of
from encoder.tool import ffmpeg_path
from headend.core import layout, plan_document
from headend.core.media import Codec, Cue, EncodePlan, TextRendition, TextRole
from headend.core.storage.local import LocalStore
from headend.core.timing import SOUND_TAIL_SAMPLES, Grid, ceil_div, plan_grid
from packager import captions, garbage, publishing, reading
from packager.presentation import assemble
from packager.segmenting.sound import cut_audio
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts

TITLES, QUICK_TITLES = 10_000, 200
FEW = 10
HOURS, QUICK_HOURS = 2.0, 0.05
PLAN_WORKERS = 1000
CUE_MS = 4_000
"""Interval of cues; films have fewer."""
RUNS = 3
CUT_TIMES = 8
"""Length of the text in films, because the text of one film takes too little time to compare."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Cost of ``headend titles``.

    Attributes:
        titles: Number of titles.
        page_s: CPU seconds of the command for the first page, on a folder; median of some runs.
        page_wall_s: Wall seconds of the fastest of these runs.
        all_s: CPU seconds with ``--all``.
        requests: S3 requests for listing all titles.
    """

    titles: int
    page_s: float
    page_wall_s: float
    all_s: float
    requests: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Cost of ``headend gc --dry-run``.

    Attributes:
        titles: Number of titles.
        found: Number of titles with garbage.
        found_bytes: Bytes of garbage.
        wall_s: Wall seconds.
        cpu_s: CPU seconds of this process.
        peak_memory_bytes: Peak resident memory of this process, including the generated store.
        requests: S3 requests per title.
    """

    titles: int
    found: int
    found_bytes: int
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    requests: float


@dataclass(frozen=True, slots=True)
class Publishing:
    """Cost of publishing a title in a store with other titles.

    Attributes:
        titles: Number of other titles.
        requests: Requests to the store.
        cpu_s: CPU seconds; median of some runs.
    """

    titles: int
    requests: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Cutting:
    """Cost of segmenting long text.

    Attributes:
        form: Format: WebVTT files, WebVTT in MP4, or IMSC.
        hours: Length.
        cpu_s: CPU seconds.
    """

    form: str
    hours: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Sound:
    """Cost of segmenting long sound.

    Attributes:
        hours: Length.
        size_bytes: Size of the encoder's file.
        peak_memory_bytes: Peak memory allocated while segmenting.
        cpu_s: CPU seconds, including the segments' digests.
    """

    hours: float
    size_bytes: int
    peak_memory_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Planning:
    """Cost of planning a 2160p film.

    Attributes:
        hours: Length.
        workers: Number of workers that the plan is for.
        tasks: Number of tasks.
        cpu_s: CPU seconds.
        document_bytes: Size of the plan's document.
    """

    hours: float
    workers: int
    tasks: int
    cpu_s: float
    document_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        hours: Length of each film.
        renditions: Renditions of each film.
        listing: Listing titles.
        sweep: Garbage collection.
        publishing: Publishing in stores with few and with many titles.
        cutting: Segmenting text of two lengths.
        sound: Segmenting sound.
        planning: Planning.
    """

    hours: float
    renditions: int
    listing: Listing
    sweep: Sweep
    publishing: tuple[Publishing, ...]
    cutting: tuple[Cutting, ...]
    sound: Sound
    planning: Planning


def measure(*, quick: bool = False, on_step: Callable[[str], None] = lambda _: None) -> Report:
    """Run the benchmark.

    Args:
        quick: Use few titles and short films: a functional check, not a measurement.
        on_step: Called with a description of each step.
    """
    hours, count = (QUICK_HOURS, QUICK_TITLES) if quick else (HOURS, TITLES)
    on_step("publishing one film twice")
    plan = film_plan(hours)
    titles = make_titles(plan, count)
    on_step(f"gc --dry-run of {count:,} titles")
    # Runs first, so that the peak memory is its own.
    swept = _sweep(titles)
    on_step(f"listing {count:,} titles")
    listing = _listing(titles, runs=1 if quick else RUNS)
    on_step("publishing in stores with few and many titles")
    published = tuple(_publishing(plan, first_titles(titles, number)) for number in (FEW, count))
    on_step("segmenting text")
    forms, lengths = (Codec.VTT, Codec.WVTT, Codec.IMSC), (CUT_TIMES * hours / 2, CUT_TIMES * hours)
    cutting = tuple(_cutting(codec, length) for codec in forms for length in lengths)
    on_step("segmenting sound")
    sound = _sound(hours)
    on_step(f"planning for {PLAN_WORKERS:,} workers")
    return Report(hours, len(plan.video) + len(plan.audio), listing, swept, published, cutting, sound, _planning(hours))


def _sweep(store: ManyTitles) -> Sweep:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    found = found_bytes = 0
    for of_title in garbage.all_garbage(store, garbage.titles_with_objects(store), keep=0):
        found += bool(of_title.objects)
        found_bytes += of_title.size_bytes
    return Sweep(
        titles=len(store.names),
        found=found,
        found_bytes=found_bytes,
        wall_s=time.perf_counter() - started_s,
        cpu_s=time.process_time() - cpu_s,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        requests=store.requests / len(store.names),
    )


def _listing(titles: ManyTitles, *, runs: int) -> Listing:
    counted = first_titles(titles, len(titles.names))
    assert len(reading.published_titles(counted)) == len(titles.names)
    with TemporaryDirectory(prefix="headend-") as folder:
        store = LocalStore(Path(folder))
        store.put(layout.published(titles.names[0]), b"")
        for name in titles.names[1:]:
            (Path(folder) / layout.published(name)).touch()

        def command_s(*words: str) -> tuple[float, float]:
            argv = [sys.executable, "-m", "headend", "titles", "--store", folder, *words]
            before, started_s = os.times(), time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            wall_s, after = time.perf_counter() - started_s, os.times()
            return after[2] + after[3] - before[2] - before[3], wall_s

        pages = sorted(command_s() for _ in range(runs))
        return Listing(
            titles=len(titles.names),
            page_s=pages[runs // 2][0],
            page_wall_s=min(wall_s for _, wall_s in pages),
            all_s=sorted(command_s("--all") for _ in range(runs))[runs // 2][0],
            requests=counted.requests,
        )


def _publishing(plan: EncodePlan, store: ManyTitles) -> Publishing:
    """Publish a film from new receipts, several times."""
    inits, times_s = inits_of(plan), []
    for _ in range(RUNS):
        store.own = store_with_parts(plan, inits)
        store.requests, cpu_s = 0, time.process_time()
        stored = find_stored_parts(store, plan)
        publishing.publish(store, assemble(plan, merge_parts(store, stored, plan.tracks)))
        remove_receipts(store, stored)
        times_s.append(time.process_time() - cpu_s)
    return Publishing(len(store.names), store.requests, sorted(times_s)[RUNS // 2])


def _cutting(codec: Codec, hours: float) -> Cutting:
    grid = _grid(hours)
    cues = [
        Cue(start_ms, start_ms + CUE_MS * 3 // 4, f"What is said at {start_ms // 1000} s")
        for start_ms in range(0, int(grid.duration_s * 1000) - CUE_MS, CUE_MS)
    ]
    document = _ttml(cues) if codec is Codec.IMSC else b""
    rendition = TextRendition(f"{codec}-en", codec, 1, "en", "English", TextRole.SUBTITLES)
    cpu_s = time.process_time()
    cut = captions.cut(rendition, cues, document, grid)
    for _ in cut.bodies:
        pass
    return Cutting(codec.value, hours, time.process_time() - cpu_s)


def _ttml(cues: Iterable[Cue]) -> bytes:
    paragraphs = "".join(f'<p begin="{_clock(cue.start_ms)}" end="{_clock(cue.end_ms)}">{cue.text}</p>' for cue in cues)
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{paragraphs}</div></body></tt>'.encode()


def _clock(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"


def _sound(hours: float) -> Sound:
    grid, rate_hz = _grid(hours), 48_000
    with TemporaryDirectory(prefix="headend-") as folder:
        path = Path(folder) / "sound.mp4"
        # Longer than the picture, as in headend's own commands.
        length_s = float(grid.duration_s + Fraction(SOUND_TAIL_SAMPLES, rate_hz))
        source = f"anullsrc=channel_layout=5.1:sample_rate={rate_hz}:duration={length_s}"
        argv = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, "-c:a", *ENCODERS[Codec.AC3]]
        argv += ["-b:a", "384k", "-frag_duration", "60000000", "-use_editlist", "1", "-movflags", MOVFLAGS]
        subprocess.run([*argv, "-write_btrt", "0", str(path)], check=True)
        with path.open("rb") as file:
            data = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        cpu_s = time.process_time()
        tracemalloc.start()
        cut = cut_audio(data, rendition="ac3", grid=grid, sample_rate_hz=rate_hz, frame_samples=1536)
        for _ in cut.bodies:
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return Sound(hours, path.stat().st_size, peak_bytes, time.process_time() - cpu_s)


def _planning(hours: float) -> Planning:
    cpu_s = time.process_time()
    plan = plan_of(hours, PLAN_WORKERS)
    cpu_s = time.process_time() - cpu_s
    return Planning(hours, PLAN_WORKERS, len(plan.tasks), cpu_s, len(plan_document.write(plan)))


def _grid(hours: float) -> Grid:
    return plan_grid(FRAME_RATE, max(1, round(hours * 3600 * FRAME_RATE)), segment_s=SEGMENT_S, chunk_s=CHUNK_S)


@dataclass(frozen=True, slots=True)
class Row:
    """A result and its target.

    Attributes:
        what: Name for people.
        measured: Measured value, for people.
        limit: Maximum, for people.
        met: Whether the target is reached.
    """

    what: str
    measured: str
    limit: str
    met: bool


MAX_PAGE_S, MAX_SWEEP_S, MAX_SWEEP_BYTES = 1.0, 60.0, 500e6
MAX_GROWTH = 1.2
"""Maximum growth: time for a text relative to twice the time for half of it; publishing with many titles or few."""
MAX_SOUND_SHARE = 0.1
MAX_PLANNING_S, MAX_PLAN_BYTES = 5.0, 10e6


def rows(report: Report) -> tuple[Row, ...]:
    """Return the results with their targets, in order."""
    listing, sweep, planning, sound = report.listing, report.sweep, report.planning, report.sound
    few, many = report.publishing
    pages = ceil_div(listing.titles, PAGE)
    found = [
        Row("CPU of the first page", f"{listing.page_s:.2f} s", f"{MAX_PAGE_S:g} s", listing.page_s <= MAX_PAGE_S),
        Row(f"requests for {listing.titles:,} titles", f"{listing.requests}", f"{pages}", listing.requests <= pages),
        Row("CPU of gc --dry-run", f"{sweep.cpu_s:.1f} s", f"{MAX_SWEEP_S:g} s", sweep.cpu_s <= MAX_SWEEP_S),
        Row(
            "memory of gc --dry-run",
            f"{sweep.peak_memory_bytes / 1e6:,.0f} MB",
            f"{MAX_SWEEP_BYTES / 1e6:,.0f} MB",
            sweep.peak_memory_bytes <= MAX_SWEEP_BYTES,
        ),
        Row(
            f"requests to publish with {many.titles:,} titles",
            f"{many.requests}",
            f"{few.requests}, as with {few.titles}",
            many.requests <= few.requests,
        ),
        Row(
            f"CPU to publish with {many.titles:,} titles",
            f"{many.cpu_s:.2f} s",
            f"{MAX_GROWTH:g} × {few.cpu_s:.2f} s",
            many.cpu_s <= MAX_GROWTH * few.cpu_s,
        ),
    ]
    for half, whole in zip(report.cutting[::2], report.cutting[1::2], strict=True):
        growth = whole.cpu_s / (2 * half.cpu_s)
        found.append(
            Row(
                f"CPU to segment {whole.form}",
                f"{whole.cpu_s:.2f} s, {growth:.2f} × double the time for half the text",
                f"{MAX_GROWTH:g} × double the time for half the text",
                growth <= MAX_GROWTH,
            )
        )
    share = sound.peak_memory_bytes / sound.size_bytes
    found += [
        Row(
            f"memory to segment {sound.size_bytes / 1e6:,.0f} MB of sound",
            f"{sound.peak_memory_bytes / 1e6:,.1f} MB, {share:.1%}",
            f"{MAX_SOUND_SHARE:.0%}",
            share <= MAX_SOUND_SHARE,
        ),
        Row(
            f"CPU to plan for {planning.workers:,} workers",
            f"{planning.cpu_s:.1f} s",
            f"{MAX_PLANNING_S:g} s",
            planning.cpu_s <= MAX_PLANNING_S,
        ),
        Row(
            f"plan document with {planning.tasks:,} tasks",
            f"{planning.document_bytes / 1e6:.1f} MB",
            f"{MAX_PLAN_BYTES / 1e6:.0f} MB",
            planning.document_bytes <= MAX_PLAN_BYTES,
        ),
    ]
    return tuple(found)
