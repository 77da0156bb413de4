"""Methods of encoding a master into a ladder: headend's, two plain FFmpeg methods, and the minimum cost.

All use the same FFmpeg with the same encoder options, which are taken from headend's commands.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path

from benchmarks.clips import STALL_S, ffmpeg
from encoder import encoding, planning, reencoding, tool
from encoder.command import MASTER
from encoder.costs import Costs
from headend.app import deciding
from headend.app.request import Request
from headend.core.media import Effort, EncodePlan, EncodeTask, VideoRendition
from headend.core.process import Finished, Watch, run
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from ladders import loading
from ladders.ladder import VideoRung

GOP_S = 2
"""Length of GOPs and segments."""
MUXER_OPTIONS = frozenset(
    {"-f", "-movflags", "-write_btrt", "-map_metadata", "-map_chapters", "-fflags", "-video_track_timescale"}
    | {"-use_editlist", "-fps_mode"}
)
TWO_PASSES = frozenset({"pass", "passlogfile"})


@dataclass(frozen=True)
class Job:
    """A master and its plan, the input of all methods.

    Attributes:
        path: The master.
        plan: headend's plan.
    """

    path: Path
    plan: EncodePlan

    @property
    def renditions(self) -> tuple[VideoRendition, ...]:
        """Video renditions of the plan."""
        return self.plan.video

    @cached_property
    def options(self) -> dict[str, list[str]]:
        """Encoder and muxer options by rendition id, taken from headend's command."""
        return {
            # Other methods encode in one pass.
            output.id: [
                word
                for name, value in output.options.items()
                if name not in TWO_PASSES
                for word in (f"-{name}", str(value))
            ]
            for output in reencoding.outputs(self.plan.tasks[0].argv)
        }

    @cached_property
    def encoder_options(self) -> dict[str, list[str]]:
        """`options` without muxer options, because shaka-streamer pipes the encoders' output itself."""
        return {name: list(_without(words, MUXER_OPTIONS)) for name, words in self.options.items()}


def job_for(
    path: Path,
    ladder: str,
    choose: Callable[[VideoRung], bool],
    effort: Effort,
    chunk_s: Fraction = Fraction(GOP_S),
    keep: Callable[[VideoRendition], bool] = lambda _: True,
    costs: Costs | None = None,
) -> Job:
    """Fit rungs of a ladder to a master, and plan the job.

    Segments have one GOP, so that short films have several chunks.

    Args:
        path: The master.
        ladder: Name of a preset ladder.
        choose: Whether to use a rung.
        effort: Effort of the encoders.
        chunk_s: Length of headend's chunks.
        keep: Whether to make a rendition.
        costs: Coefficients of the cost model; None for the installed ones.
    """
    whole = loading.load(ladder)
    rungs = replace(whole, video=tuple(rung for rung in whole.video if choose(rung)), audio=())
    # The other methods make no thumbnails.
    settings = EncodeSettings(segment_s=Fraction(GOP_S), chunk_s=chunk_s, effort=effort, thumbnails=False)
    request = Request(str(path), "bench", rungs, StoreSettings(), ClusterSettings(), settings)
    probe = deciding.inspect(request.master, request.store)
    probe, conformed, fitted = deciding.fit(rungs, settings, request.store, probe)
    draft = planning.Draft(
        request.title,
        probe,
        conformed,
        planning.Renditions(whole.name, tuple(filter(keep, fitted.video))),
        settings=settings,
        tool=tool.version(),
        tool_digest=tool.digest(),
        costs=costs,
    )
    # One task per chunk, as in a long film, whose chunks keep all workers busy.
    return Job(path, draft.with_tasks(workers=1))


def headend(job: Job, folder: Path, slots: int) -> Finished:
    """Encode with headend: chunks in parallel on all slots, without a cluster or a store.

    Chunk n writes its renditions to the folder n.
    """
    return _run_in_parallel([partial(headend_task, job, task, folder) for task in job.plan.tasks], slots)


def headend_task(job: Job, task: EncodeTask, folder: Path) -> Finished:
    """Run one task of headend's engine."""
    scratch = folder / str(task.chunk.number)
    scratch.mkdir()
    return encoding.encode(
        task, input_url=str(job.path), scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None
    )


def process_per_rendition(job: Job, folder: Path, slots: int) -> Finished:
    """Encode with one FFmpeg process per rendition; each decodes and scales separately."""
    return _run_in_parallel([partial(_from_master, job, [r], folder) for r in job.renditions], slots)


def single_process(job: Job, folder: Path) -> Finished:
    """Encode with one FFmpeg process: it decodes once, and scales each rendition from the master."""
    return _from_master(job, job.renditions, folder)


def write_raw_frames(job: Job, folder: Path) -> dict[str, Path]:
    """Write the frames that headend's encoders get to raw files, by rendition id."""
    paths = {r.id: folder / f"{r.width_px}x{r.height_px}-{r.pixel_format}-{r.rate_divisor}.yuv" for r in job.renditions}
    users = {path: next(id for id in paths if paths[id] == path) for path in paths.values()}
    for task in sorted(job.plan.tasks, key=lambda task: task.chunk.number):
        argv = list(task.argv)
        graph = argv[: argv.index("-map")]
        taps = {output.id: output.label for output in reencoding.outputs(argv)}
        unused = [tap for id, tap in taps.items() if id not in users.values()]
        outputs = [word for tap in unused for word in ("-map", tap, "-f", "null", "-")]
        for path, id in users.items():
            outputs += ["-map", taps[id], "-f", "rawvideo", f"{path}.part"]
        words = [str(job.path) if word == MASTER else word for word in [*graph[1:], *outputs]]
        run([tool.ffmpeg_path(), *words], watch=Watch(stall_s=STALL_S))
        for path in users:
            part = Path(f"{path}.part")
            with path.open("ab") as whole, part.open("rb") as more:
                shutil.copyfileobj(more, whole, 1 << 24)
            part.unlink()
    return paths


def decode(job: Job) -> Finished:
    """Decode the master and discard the frames."""
    return ffmpeg("-threads", "1", "-i", str(job.path), "-map", "0:v", "-f", "null", "-")


def encode_raw_frames(job: Job, ready: dict[str, Path], folder: Path) -> Finished:
    """Encode ready frames; together with `decode`, this is the minimum cost of any method."""
    inputs = list(dict.fromkeys(ready.values()))
    by_path = {ready[r.id]: r for r in job.renditions}
    words: list[str] = []
    for path in inputs:
        r = by_path[path]
        words += ["-f", "rawvideo", "-pix_fmt", r.pixel_format, "-s", f"{r.width_px}x{r.height_px}"]
        words += ["-r", str(r.frame_rate), "-i", str(path)]
    for r in job.renditions:
        words += ["-map", f"{inputs.index(ready[r.id])}:v", *job.options[r.id], str(folder / f"{r.id}.mp4")]
    return ffmpeg(*words)


def _from_master(job: Job, renditions: Sequence[VideoRendition], folder: Path) -> Finished:
    words = ["-threads", "1", "-i", str(job.path)]
    for r in renditions:
        words += ["-map", "0:v", *_scale(r), *job.options[r.id], str(folder / f"{r.id}.mp4")]
    return ffmpeg(*words)


def _scale(rendition: VideoRendition) -> list[str]:
    size = f"{rendition.width_px}:{rendition.height_px}"
    return ["-vf", f"scale={size}:flags=bicubic:out_range=tv,format={rendition.pixel_format},setsar=1"]


def _run_in_parallel(acts: Sequence[Callable[[], Finished]], slots: int) -> Finished:
    started_s = time.monotonic()
    with ThreadPoolExecutor(slots) as pool:
        done = list(pool.map(lambda act: act(), acts))
    return Finished(
        cpu_s=sum(one.cpu_s for one in done),
        wall_s=time.monotonic() - started_s,
        peak_memory_bytes=max(one.peak_memory_bytes for one in done),
        stderr="",
    )


def _without(words: Sequence[str], names: frozenset[str]) -> Iterator[str]:
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name not in names:
            yield from (name, value)
