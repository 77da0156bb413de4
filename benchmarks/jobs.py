"""A real job, as ``headend submit`` does it, in a process of its own, watched while it runs."""

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

LOOK_S = 0.1
"""How often a job is looked at."""
DASK_THREAD = "IO loop"
"""The thread in which Dask's scheduler and client run."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a job took.

    Attributes:
        encode_s: From the start of the first task to the last receipt.
        end_s: From the last receipt to the release: the cluster is taken down, manifests are made and written.
        tasks: How many there were.
        task_s: Seconds of all tasks, with the storing of their results.
        encoder_cpu_s: CPU seconds of all FFmpegs of tasks.
        start_cpu_s: Of the cluster until the first task begins: interpreters that start and import.
        worker_cpu_s: Of the workers' processes from then on: cutting, digests, storing.
        dask_cpu_s: Of Dask's scheduler and client from then on.
        own_cpu_s: Of all else in the submitting process and its probes: reading the master, planning, publishing.
        output_bytes: Of all segments and sheets.
        task_bytes: Of those of the largest task.
        scratch_bytes: What lay in the workers' scratch folders at most, at once.
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
        """All of it."""
        return self.encoder_cpu_s + self.start_cpu_s + self.worker_cpu_s + self.dask_cpu_s + self.own_cpu_s


def job_of(master: Path, store: Path, *, chunk_s: Fraction = Fraction(1)) -> Request:
    """Six H.264 renditions at the lowest effort: what is not encoding weighs most there."""
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
    """Run a job on a local cluster and watch it.

    Args:
        request: The job; nothing of it may be done already.
        cores: On how many of this machine's cores: an FFmpeg alone would use all, since it has many threads.
        environment: Variables beside those of this process.

    Raises:
        HeadendError: The job fails.
    """
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, chosen)) as pool:
        return pool.submit(_run, request, dict(environment or {})).result()


def _run(request: Request, environment: Mapping[str, str]) -> Watched:
    os.environ.update(environment)
    with TemporaryDirectory(prefix="headend-bench-") as scratch, dask.config.set({"temporary-directory": scratch}):
        eye = _Eye(Path(scratch))
        looking = threading.Thread(target=eye.look_on)
        looking.start()
        try:
            pipeline.submit(request, eye.note)
        finally:
            eye.ended.set()
            looking.join()
    return eye.sum_up()


@dataclass
class _Eye:
    """Sees what a job in this process does."""

    scratch: Path
    ended: threading.Event = field(default_factory=threading.Event)
    planned: bool = False
    """From then on, the only other Pythons are workers."""
    started: bool = False
    began_s: list[float] = field(default_factory=list)
    stored_s: float = 0.0
    receipts: list[Receipt] = field(default_factory=list)
    probes_cpu_s: float = 0.0
    looking_cpu_s: float = 0.0
    worker_cpu_s: dict[int, float] = field(default_factory=dict)
    dask_cpu_s: dict[int, float] = field(default_factory=dict)
    looks: list[tuple[float, float, float]] = field(default_factory=list)
    """When, and what workers and Dask had taken till then."""
    scratch_bytes: int = 0

    def note(self, event: Event) -> None:
        if isinstance(event, Planned):
            self.probes_cpu_s, self.planned = _cpu_s(resource.RUSAGE_CHILDREN), True
        if isinstance(event, cluster.Advance | cluster.Done):
            self.started = True
        if isinstance(event, cluster.Done):
            self.stored_s = time.monotonic()
            self.began_s.append(self.stored_s - event.receipt.wall_s)
            self.receipts.append(event.receipt)

    def look_on(self) -> None:
        here, workers = psutil.Process(), dict[int, psutil.Process]()
        while not self.ended.wait(LOOK_S):
            if self.planned and not self.started:
                workers |= {child.pid: child for child in _workers_of(here)}
            loops = {thread.native_id for thread in threading.enumerate() if thread.name == DASK_THREAD}
            for thread in here.threads():
                if thread.id in loops:
                    self.dask_cpu_s[thread.id] = thread.user_time + thread.system_time
            for worker in list(workers.values()):
                try:
                    used = worker.cpu_times()
                except psutil.NoSuchProcess:
                    del workers[worker.pid]
                    continue
                self.worker_cpu_s[worker.pid] = used.user + used.system
            so_far_s = sum(self.worker_cpu_s.values()), sum(self.dask_cpu_s.values())
            self.looks.append((time.monotonic(), *so_far_s))
            self.scratch_bytes = max(self.scratch_bytes, _bytes_in(self.scratch, workers))
        self.looking_cpu_s = time.thread_time()

    def sum_up(self) -> Watched:
        ended_s = time.monotonic()
        before = (look for look in self.looks if look[0] <= min(self.began_s))
        _, worker_start_s, dask_start_s = max(before, default=(0.0, 0.0, 0.0))
        dask_cpu_s = sum(self.dask_cpu_s.values())
        made = [_bytes_of(receipt) for receipt in self.receipts]
        return Watched(
            encode_s=self.stored_s - min(self.began_s),
            end_s=ended_s - self.stored_s,
            tasks=len(self.receipts),
            task_s=sum(receipt.wall_s for receipt in self.receipts),
            encoder_cpu_s=sum(receipt.cpu_s for receipt in self.receipts),
            start_cpu_s=worker_start_s + dask_start_s,
            worker_cpu_s=sum(self.worker_cpu_s.values()) - worker_start_s,
            dask_cpu_s=dask_cpu_s - dask_start_s,
            own_cpu_s=_cpu_s(resource.RUSAGE_SELF) - dask_cpu_s - self.looking_cpu_s + self.probes_cpu_s,
            output_bytes=sum(made),
            task_bytes=max(made),
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
    """What lies in a folder, and what has been removed there but is still read."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:
                continue  # it went this very moment
    mapped = re.compile(rf"^([0-9a-f]+)-([0-9a-f]+) .* {re.escape(str(folder))}/.* \(deleted\)$", re.MULTILINE)
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(end, 16) - int(start, 16) for start, end in mapped.findall(maps))
    return total
