"""Measures the costs of a job besides encoding: uploads, task starts, scratch files, Dask.

Runs real jobs like ``headend submit``: a local cluster with two workers, and H.264 at the lowest effort, for which
overheads are the largest share.
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
"""Short, so that a short film has many chunks: the upload of each but the last can overlap with encoding."""
LONG_FRAMES, QUICK_LONG_FRAMES = 14_400, 96
"""Ten minutes, with sound: twenty chunks of the default length."""
UPLOAD_SHARE = 0.5
"""Minimum upload time of a task's results, as a share of its encoding time."""
BUCKET = "films"
START_GOAL, SCRATCH_GOAL, HIDDEN_GOAL = 0.02, 2.0, 0.8
"""Targets: maximum share of a job's CPU for starting tasks; maximum chunks in scratch space per slot, one being encoded
and one being uploaded; minimum share of the overlap that is possible."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The same job with a folder, and with an S3 server over a slow link.

    Attributes:
        folder_s: Seconds from the first task's start to the last receipt, per run.
        s3_s: The same over the slow link.
        upload_s: Additional worker seconds for storing over the slow link; median over runs.
        apart_s: Duration of the job without overlap of encoding and uploads.
        hidden: Share of ``upload_s`` that overlaps with encoding.
        hidden_at_best: Maximum of ``hidden``: all uploads but each worker's last.
        bytes_per_s: Rate of each connection.
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
    """Use of scratch folders.

    Attributes:
        peak_bytes: Peak of all workers together, with the slow store.
        task_bytes: Results of the largest task.
        copies: Peak divided by the largest task, per slot.
    """

    peak_bytes: int
    task_bytes: int
    copies: float


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        effort: Effort of the encoders.
        renditions: Number of renditions.
        uploads: Cost of uploads.
        scratch: Use of scratch folders.
        chunk_s: Length of the chunks of ``job``.
        job: A job with chunks of the default length, stored in a folder.
        start_s: CPU seconds to start a task, at most: FFmpeg and its encoders for a single frame.
        start_share: Share of the job's CPU for starting all tasks.
        dask_share: Share of the job's CPU for Dask's scheduler and client.
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
        quick: Use short films and one round: a functional check, not a measurement.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: The film or the S3 server is not installed.
        HeadendError: A job failed.
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
            # A task uploads its segments over UPLOADS connections.
            rate = rate or local[0].output_bytes / (UPLOADS * UPLOAD_SHARE * local[0].task_s)
            on_step(f"storing over a link of {rate / 1e3:.0f} kB/s per connection, round {number + 1}")
            with slowed(server.endpoint_url, rate) as endpoint_url:
                store = StoreSettings(f"s3://{BUCKET}/{number}", endpoint_url)
                environment = {**server.environment(), "AWS_DEFAULT_REGION": "us-east-1"}
                remote.append(watch(replace(job, store=store), cores=WORKERS, environment=environment))
    folder_s, s3_s = (tuple(run.encode_s for run in runs) for runs in (local, remote))
    upload_s = median(slow.task_s - fast.task_s for fast, slow in zip(local, remote, strict=True))
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
    """Yield the conclusions, one line each."""
    uploads, scratch, job = report.uploads, report.scratch, report.job
    folder_s, s3_s = median(uploads.folder_s), median(uploads.s3_s)
    walls = f"{s3_s:.1f} s over a slow link, {folder_s:.1f} s to a folder, {uploads.apart_s:.1f} s without overlap"
    hidden = f"{uploads.hidden:.0%} of uploads overlap with encoding, {uploads.hidden_at_best:.0%} at best"
    yield f"{walls}: {hidden}, {_verdict(uploads.hidden >= HIDDEN_GOAL * uploads.hidden_at_best)}"
    copies = (
        f"peak scratch space is {scratch.peak_bytes / 1e6:.2f} MB, {scratch.copies:.2f} × a task's results per slot"
    )
    yield f"{copies}: {_verdict(scratch.copies <= SCRATCH_GOAL)}"
    start = f"starting {job.tasks} tasks takes {report.start_share:.2%} of a job with chunks of {report.chunk_s:.0f} s"
    yield f"{start}: {_verdict(report.start_share <= START_GOAL)}"
    yield f"Dask's scheduler and client take {report.dask_share:.2%}"


def parts(job: Watched) -> dict[str, float]:
    """Return a job's CPU seconds by activity."""
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
    """Draw the durations of the jobs, and a job's CPU by activity.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    uploads = report.uploads
    titles = ["seconds from the first task to the last receipt", f"CPU seconds, chunks of {report.chunk_s:.0f} s"]
    headline = f"overheads of a job: {report.renditions} × H.264 of 720p, {report.effort} effort, two workers"
    with charts.panels(path, titles, headline) as (walls, shares):
        times = {
            "folder": median(uploads.folder_s),
            "S3 over a slow link": median(uploads.s3_s),
            "the same without overlap": uploads.apart_s,
        }
        charts.bars(walls, times, ours="S3 over a slow link", bound="folder", unit="s (median)")
        charts.bars(shares, parts(report.job), ours="", bound="FFmpeg", unit="CPU s")
