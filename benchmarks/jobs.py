"""Runs a real job like ``headend submit`` in a separate process, and monitors it."""

import os
import re
import resource
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import psutil

from encoder import cluster
from headend.app import pipeline
from headend.app.request import Event, Planned, Request
from headend.core.media import Effort, Receipt
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from ladders import loading

SAMPLE_S = 0.1
"""Sampling interval of the monitor."""
DASK_THREAD = "IO loop"
"""Name of the thread that runs Dask's scheduler and client."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Cost of a job.

    Attributes:
        encode_s: Seconds from the start of the first task to the last receipt.
        end_s: Seconds from the last receipt to the release: stopping the cluster, making and writing manifests.
        tasks: Number of tasks.
        task_s: Seconds of all tasks, including the storing of results.
        encoder_cpu_s: CPU seconds of the tasks' FFmpeg processes.
        start_cpu_s: CPU seconds of the cluster until the first task starts: interpreters and imports.
        worker_cpu_s: CPU seconds of the worker processes after that: segmenting, hashing, storing.
        dask_cpu_s: CPU seconds of Dask's scheduler and client after that.
        own_cpu_s: Other CPU seconds of the submitting process and its probes: indexing, planning, publishing.
        output_bytes: Bytes of all segments and thumbnail sheets.
        task_bytes: Bytes of the largest task's results.
        scratch_bytes: Peak size of the workers' scratch folders.
    """

    encode_s: float
    end_s: float
    tasks: int
    task_s: float
    encoder_cpu_s: float
    start_cpu_s: float
    worker_cpu_s: float
    dask_cpu_s: float
    own_cpu_s: float
    output_bytes: int
    task_bytes: int
    scratch_bytes: int

    @property
    def cpu_s(self) -> float:
        """All CPU seconds."""
        return self.encoder_cpu_s + self.start_cpu_s + self.worker_cpu_s + self.dask_cpu_s + self.own_cpu_s


def job_of(master: Path, store: Path, *, chunk_s: Fraction = Fraction(1)) -> Request:
    """Make a job of six H.264 renditions at the lowest effort, for which overheads are the largest share."""
    return Request(
        master=str(master),
        title="film",
        ladder=loading.load("web"),
        store=StoreSettings(str(store)),
        cluster=ClusterSettings(workers=2),
        encode=EncodeSettings(
            segment_s=min(max(chunk_s / 4, Fraction(1, 2)), Fraction(6)), chunk_s=chunk_s, effort=Effort.DRAFT
        ),
    )


def watch(request: Request, *, cores: int, environment: Mapping[str, str] | None = None) -> Watched:
    """Run a job on a local cluster and monitor it.

    Args:
        request: The job; none of its tasks may be done already.
        cores: Number of this machine's cores to use; without a limit, a single FFmpeg would use all.
        environment: Additional environment variables.

    Raises:
        HeadendError: The job failed.
    """
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, chosen)) as pool:
        return pool.submit(_run, request, dict(environment or {})).result()


def _run(request: Request, environment: Mapping[str, str]) -> Watched:
    os.environ.update(environment)
    with TemporaryDirectory(prefix="headend-bench-") as scratch, dask.config.set({"temporary-directory": scratch}):
        monitor = _Monitor(Path(scratch))
        sampling = threading.Thread(target=monitor.sample)
        sampling.start()
        try:
            pipeline.submit(request, monitor.note)
        finally:
            monitor.ended.set()
            sampling.join()
    return monitor.sum_up()


@dataclass
class _Monitor:
    """Monitors a job in this process."""

    scratch: Path
    ended: threading.Event = field(default_factory=threading.Event)
    planned: bool = False
    """After planning, the only other Python processes are workers."""
    started: bool = False
    started_s: list[float] = field(default_factory=list)
    stored_s: float = 0.0
    receipts: list[Receipt] = field(default_factory=list)
    probes_cpu_s: float = 0.0
    sampling_cpu_s: float = 0.0
    worker_cpu_s: dict[int, float] = field(default_factory=dict)
    dask_cpu_s: dict[int, float] = field(default_factory=dict)
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    """Time, and CPU seconds of workers and of Dask so far."""
    scratch_bytes: int = 0

    def note(self, event: Event) -> None:
        if isinstance(event, Planned):
            self.probes_cpu_s, self.planned = _cpu_s(resource.RUSAGE_CHILDREN), True
        if isinstance(event, cluster.TaskProgress | cluster.Done):
            self.started = True
        if isinstance(event, cluster.Done):
            self.stored_s = time.monotonic()
            self.started_s.append(self.stored_s - event.receipt.wall_s)
            self.receipts.append(event.receipt)

    def sample(self) -> None:
        own, workers = psutil.Process(), dict[int, psutil.Process]()
        while not self.ended.wait(SAMPLE_S):
            if self.planned and not self.started:
                workers |= {child.pid: child for child in _workers_of(own)}
            loops = {thread.native_id for thread in threading.enumerate() if thread.name == DASK_THREAD}
            for thread in own.threads():
                if thread.id in loops:
                    self.dask_cpu_s[thread.id] = thread.user_time + thread.system_time
            for worker in list(workers.values()):
                try:
                    used = worker.cpu_times()
                except psutil.NoSuchProcess:
                    del workers[worker.pid]
                    continue
                self.worker_cpu_s[worker.pid] = used.user + used.system
            cpu_s = sum(self.worker_cpu_s.values()), sum(self.dask_cpu_s.values())
            self.samples.append((time.monotonic(), *cpu_s))
            self.scratch_bytes = max(self.scratch_bytes, _bytes_in(self.scratch, workers))
        self.sampling_cpu_s = time.thread_time()

    def sum_up(self) -> Watched:
        ended_s = time.monotonic()
        before = (sample for sample in self.samples if sample[0] <= min(self.started_s))
        _, worker_start_s, dask_start_s = max(before, default=(0.0, 0.0, 0.0))
        dask_cpu_s = sum(self.dask_cpu_s.values())
        sizes = [_bytes_of(receipt) for receipt in self.receipts]
        return Watched(
            encode_s=self.stored_s - min(self.started_s),
            end_s=ended_s - self.stored_s,
            tasks=len(self.receipts),
            task_s=sum(receipt.wall_s for receipt in self.receipts),
            encoder_cpu_s=sum(receipt.cpu_s for receipt in self.receipts),
            start_cpu_s=worker_start_s + dask_start_s,
            worker_cpu_s=sum(self.worker_cpu_s.values()) - worker_start_s,
            dask_cpu_s=dask_cpu_s - dask_start_s,
            own_cpu_s=_cpu_s(resource.RUSAGE_SELF) - dask_cpu_s - self.sampling_cpu_s + self.probes_cpu_s,
            output_bytes=sum(sizes),
            task_bytes=max(sizes),
            scratch_bytes=self.scratch_bytes,
        )


def _cpu_s(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _workers_of(process: psutil.Process) -> Iterable[psutil.Process]:
    for child in process.children():
        try:
            if any("spawn_main" in word for word in child.cmdline()):
                yield child
        except psutil.NoSuchProcess:
            continue


def _bytes_of(receipt: Receipt) -> int:
    return sum(segment.size_bytes for track in receipt.tracks for segment in track.segments)


def _bytes_in(folder: Path, pids: Iterable[int]) -> int:
    """Return the bytes of a folder's files, including deleted ones that are still mapped."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:
                continue  # deleted in the meantime
    mapped = re.compile(rf"^([0-9a-f]+)-([0-9a-f]+) .* {re.escape(str(folder))}/.* \(deleted\)$", re.MULTILINE)
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(end, 16) - int(start, 16) for start, end in mapped.findall(maps))
    return total
