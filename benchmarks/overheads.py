"""What a job costs beside encoding: storing results, starting tasks, scratch files, Dask.

Real jobs, as ``headend submit`` does them: local cluster, two workers, H.264 at the lowest effort, where all that is
not encoding weighs most.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import charts, clips, ways
from benchmarks.clips import Mezzanine
from benchmarks.jobs import Watched, job_of, watch
from benchmarks.slow_link import slowed
from headend.app.storing import UPLOADS
from headend.core.media import Effort
from headend.core.settings import EncodeSettings, StoreSettings
from headend.core.storage.local_server import rclone_server

WORKERS = 2
FRAMES, QUICK_FRAMES = 384, 192
ROUNDS, QUICK_ROUNDS = 3, 1
CHUNK_S = Fraction(2)
"""Short, so that a short film has many: what is hidden at each counts, but for the last."""
LONG_FRAMES, QUICK_LONG_FRAMES = 14_400, 96
"""Ten minutes, with sound: twenty chunks of the default length."""
UPLOAD_SHARE = 0.5
"""How long storing a task's results takes at least, as a share of encoding them."""
BUCKET = "films"
START_GOAL, SCRATCH_GOAL, HIDDEN_GOAL = 0.02, 2.0, 0.8
"""Most of a job's CPU that may go into starting tasks; most copies of a chunk for each slot, of which one is encoded
and one is on its way; least part of what can be hidden of uploads that must be."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The same job into a folder, and over a slow line into an S3 server.

    Attributes:
        folder_s: Seconds from the first task's start to the last receipt, of each run.
        s3_s: The same over the slow line.
        upload_s: Seconds of a worker that storing takes longer than into a folder; median over runs.
        apart_s: What the job would take if nothing were encoded while results are stored.
        hidden: The part of ``upload_s`` that the job does not wait for.
        hidden_at_best: The same, were all hidden but each worker's last.
        bytes_per_s: What each connection carries.
    """

    folder_s: tuple[float, ...]
    s3_s: tuple[float, ...]
    upload_s: float
    apart_s: float
    hidden: float
    hidden_at_best: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Scratch:
    """What lies in scratch folders.

    Attributes:
        peak_bytes: At most, of all workers at once, with the slow store.
        task_bytes: What the largest task makes.
        copies: The former over the latter, for each slot.
    """

    peak_bytes: int
    task_bytes: int
    copies: float


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        effort: How much work the encoders do.
        renditions: How many there are.
        uploads: What storing results costs.
        scratch: What lies in scratch folders.
        chunk_s: Length of the chunks of the job that follows.
        job: It: two chunks of the default length into a folder.
        start_s: CPU seconds that starting a task takes at most: FFmpeg and its encoders for a single frame.
        start_share: That, for all tasks, as a share of the job's CPU.
        dask_share: Dask's scheduler and client, likewise.
    """

    effort: Effort
    renditions: int
    uploads: Uploads
    scratch: Scratch
    chunk_s: float
    job: Watched
    start_s: float
    start_share: float
    dask_share: float


def measure(*, quick: bool = False, on_step: Callable[[str], None] = lambda _: None) -> Report:
    """Run the jobs.

    Args:
        quick: Short films, once: shows that all works, not what it costs.
        on_step: Told what runs.

    Raises:
        ConfigError: The film or the S3 server is not installed.
        HeadendError: A job has failed.
    """
    with TemporaryDirectory(prefix="headend-bench-") as name:
        folder = Path(name)
        uploads, scratch = _uploads(folder, quick, on_step)
        on_step("encoding chunks of the default length")
        default_s = EncodeSettings().chunk_s
        frames = QUICK_LONG_FRAMES if quick else LONG_FRAMES
        master = clips.with_sound(_master(folder / "long", frames), folder / "long" / "with-sound.mp4")
        job = watch(job_of(master, folder / "long-store", chunk_s=default_s), cores=WORKERS)
        on_step("starting a task")
        one_frame = ways.job_for(_master(folder / "one", 1), "web", lambda _: True, Effort.DRAFT)
        starts = [_start_s(one_frame, folder / f"start-{number}") for number in range(QUICK_ROUNDS if quick else 5)]
    start_s = median(starts)
    return Report(
        effort=Effort.DRAFT,
        renditions=len(one_frame.renditions),
        uploads=uploads,
        scratch=scratch,
        chunk_s=float(default_s),
        job=job,
        start_s=start_s,
        start_share=start_s * job.tasks / job.cpu_s,
        dask_share=job.dask_cpu_s / job.cpu_s,
    )


def _uploads(folder: Path, quick: bool, on_step: Callable[[str], None]) -> tuple[Uploads, Scratch]:
    master = _master(folder, QUICK_FRAMES if quick else FRAMES)
    local, remote = list[Watched](), list[Watched]()
    rate = 0.0
    with rclone_server(folder / "s3", buckets=[BUCKET]) as server:
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            on_step(f"storing into a folder, round {number + 1}")
            job = job_of(master, folder / f"store-{number}", chunk_s=CHUNK_S)
            local.append(watch(job, cores=WORKERS))
            # A task's segments go over so many connections at once.
            rate = rate or local[0].output_bytes / (UPLOADS * UPLOAD_SHARE * local[0].task_s)
            on_step(f"storing over a line of {rate / 1e3:.0f} kB/s for each connection, round {number + 1}")
            with slowed(server.endpoint_url, rate) as endpoint_url:
                store = StoreSettings(f"s3://{BUCKET}/{number}", endpoint_url)
                environment = {**server.environment(), "AWS_DEFAULT_REGION": "us-east-1"}
                remote.append(watch(replace(job, store=store), cores=WORKERS, environment=environment))
    folder_s, s3_s = (tuple(run.encode_s for run in runs) for runs in (local, remote))
    upload_s = median(there.task_s - here.task_s for here, there in zip(local, remote, strict=True))
    waited_s = median(s3_s) - median(folder_s)
    peak, largest = max(run.scratch_bytes for run in remote), max(run.task_bytes for run in remote)
    return (
        Uploads(
            folder_s=folder_s,
            s3_s=s3_s,
            upload_s=upload_s,
            apart_s=median(folder_s) + upload_s / WORKERS,
            hidden=1 - waited_s / (upload_s / WORKERS),
            hidden_at_best=1 - WORKERS / local[0].tasks,
            bytes_per_s=rate,
        ),
        Scratch(peak, largest, peak / largest / WORKERS),
    )


def _master(folder: Path, frames: int) -> Path:
    folder.mkdir(exist_ok=True)
    return clips.make_master(Mezzanine.H264, clips.locate(), folder, frames, None)


def _start_s(job: ways.Job, scratch: Path) -> float:
    scratch.mkdir()
    return ways.headend(job, scratch, 1).cpu_s


def findings(report: Report) -> Iterator[str]:
    """What the figures say, one line each."""
    uploads, scratch, job = report.uploads, report.scratch, report.job
    folder_s, s3_s = median(uploads.folder_s), median(uploads.s3_s)
    walls = f"{s3_s:.1f} s over a slow line, {folder_s:.1f} s into a folder, {uploads.apart_s:.1f} s without overlap"
    hidden = f"{uploads.hidden:.0%} of uploads hidden, {uploads.hidden_at_best:.0%} at best"
    yield f"{walls}: {hidden}, {_verdict(uploads.hidden >= HIDDEN_GOAL * uploads.hidden_at_best)}"
    copies = (
        f"scratch holds {scratch.peak_bytes / 1e6:.2f} MB at most, {scratch.copies:.2f} × a task's results per slot"
    )
    yield f"{copies}: {_verdict(scratch.copies <= SCRATCH_GOAL)}"
    start = f"starting {job.tasks} tasks takes {report.start_share:.2%} of a job with chunks of {report.chunk_s:.0f} s"
    yield f"{start}: {_verdict(report.start_share <= START_GOAL)}"
    yield f"Dask's scheduler and client take {report.dask_share:.2%}"


def parts(job: Watched) -> dict[str, float]:
    """A job's CPU seconds, by what for."""
    return {
        "FFmpeg": job.encoder_cpu_s,
        "cluster's start": job.start_cpu_s,
        "probe, plan, publish": job.own_cpu_s,
        "cutting and storing": job.worker_cpu_s,
        "Dask": job.dask_cpu_s,
    }


def _verdict(met: bool) -> str:
    return "reached" if met else "missed"


def draw(report: Report, path: Path) -> None:
    """Draw how long the jobs took, and what a job's CPU went into.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    uploads = report.uploads
    titles = ["seconds from the first task to the last receipt", f"CPU seconds, chunks of {report.chunk_s:.0f} s"]
    headline = f"what is not encoding: {report.renditions} × H.264 of 720p, {report.effort} effort, two workers"
    with charts.panels(path, titles, headline) as (walls, shares):
        times = {
            "into a folder": median(uploads.folder_s),
            "into S3 over a slow line": median(uploads.s3_s),
            "the same without overlap": uploads.apart_s,
        }
        charts.bars(walls, times, ours="into S3 over a slow line", bound="into a folder", unit="s (median)")
        charts.bars(shares, parts(report.job), ours="", bound="FFmpeg", unit="CPU s")
