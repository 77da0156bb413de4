"""Measures the job queue: use of the cluster, the dispatcher's own CPU, the wait of an urgent title, takeover."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from encoder.tool import ffmpeg_path
from headend.app.jobs.backlog import Backlog
from headend.app.jobs.model import Job, State, new_id
from headend.app.jobs.queue import READERS, Queue
from headend.app.request import Request
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import Store, open_store
from headend.core.storage.memory import MemoryStore
from ladders import loading

TITLES = 20
MANY = 10_000
POLLS = 100
ASK_S = 10.0
"""Interval of requests to the console; their cost counts as the dispatcher's."""
WORKERS = 2
REQUEST = Request(
    "/masters/film.mov", "film", loading.load("smoke"), StoreSettings("/x"), ClusterSettings(), EncodeSettings()
)


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        titles: Titles in the queue, including the urgent one.
        makespan_s: Seconds from the first job's start to the last one's end.
        work_s: Wall seconds of all tasks on their workers.
        makespan_ratio: Makespan divided by work per worker; 1 is the minimum.
        urgent_wait_s: Seconds from the submission of an urgent title to its first task.
        longest_task_s: Wall seconds of the longest task.
        takeover_s: Seconds from the death of a dispatcher to the stand-by's first job.
        encoder_cpu_s: CPU seconds of the jobs' tasks.
        dispatcher_cpu_s: CPU seconds of the dispatcher process, including its start.
        start_cpu_s: Part of these until its first job runs: imports, and the start of the local cluster.
        dispatcher_share: Dispatcher's CPU divided by the encoders'.
        listed: Jobs in the long queue.
        list_s: Seconds to list the long queue in a folder.
        load_cpu_s: CPU seconds for a dispatcher to load the long queue once, from memory.
        look_cpu_s: CPU seconds of a later poll, in which one job is started and a new one is found.
    """

    titles: int
    makespan_s: float
    work_s: float
    makespan_ratio: float
    urgent_wait_s: float
    longest_task_s: float
    takeover_s: float
    encoder_cpu_s: float
    dispatcher_cpu_s: float
    start_cpu_s: float
    dispatcher_share: float
    listed: int
    list_s: float
    load_cpu_s: float
    look_cpu_s: float


def measure(on_step: Callable[[str], None], titles: int = TITLES) -> Report:
    """Run a small queue, and measure a long one."""
    with TemporaryDirectory(prefix="headend-bench-") as folder:
        on_step("listing a long queue")
        list_s = _list_many(Path(folder) / "many")
        load_cpu_s, look_cpu_s = _poll_many()
        master = _make_master(Path(folder) / "film.mov")
        on_step(f"running {titles} titles with one dispatcher, one of them urgent")
        store = open_store(StoreSettings(str(Path(folder) / "queue")))
        run = _run_queue(store, master, titles)
        on_step("killing a dispatcher")
        takeover_s = _take_over(open_store(StoreSettings(str(Path(folder) / "killed"))), master)
    return Report(
        **run,
        titles=titles,
        takeover_s=takeover_s,
        listed=MANY,
        list_s=list_s,
        load_cpu_s=load_cpu_s,
        look_cpu_s=look_cpu_s,
    )


def findings(report: Report) -> list[str]:
    """Return the conclusions, one line each."""
    return [
        f"makespan is {report.makespan_ratio:.3f} × (work / workers); target: 1.10",
        f"an urgent title's first task started after {report.urgent_wait_s:.1f} s; the longest task takes "
        f"{report.longest_task_s:.1f} s",
        f"the dispatcher used {report.dispatcher_share:.1%} of the encoders' CPU ({report.dispatcher_cpu_s:.1f} s, "
        f"{report.start_cpu_s:.1f} s of it to start); target: 2 %",
        f"listing {report.listed:,} jobs took {report.list_s:.2f} s; target: 2 s",
        f"a dispatcher loads them in {report.load_cpu_s:.2f} s of CPU, once; a later poll takes "
        f"{report.look_cpu_s * 1000:.2f} ms",
        f"the stand-by took over after {report.takeover_s:.1f} s; target: 30 s",
    ]


def _make_master(path: Path) -> Path:
    source = "testsrc2=s=640x360:r=24:d=8,noise=alls=6:allf=t:all_seed=1"
    subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", source,
         "-f", "lavfi", "-i", "sine=r=48000:d=8",
         "-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-c:a", "pcm_s16le", str(path)], check=True
    )  # fmt: skip
    return path


def _add(queue: Queue, store: Store, master: Path, title: str, priority: int = 50) -> str:
    request = Request(
        str(master), title, loading.load("web"), StoreSettings(store.url), ClusterSettings(), EncodeSettings()
    )
    return queue.add(request, priority=priority).id


def _dispatch(store: Store, *more: str, out: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "headend", "dispatch", "--store", store.url, "--workers", str(WORKERS), *more],
        stdout=out, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _run_queue(store: Store, master: Path, titles: int) -> dict[str, float]:
    queue = Queue(store)
    jobs = [_add(queue, store, master, f"title-{number}") for number in range(titles - 1)]
    with socket.create_server(("127.0.0.1", 0)) as free_port:
        address = f"127.0.0.1:{free_port.getsockname()[1]}"
    process = _dispatch(store, "--until-idle", "--max-jobs", "4", "--http", address)
    own = psutil.Process(process.pid)
    urgent, cpu_s, start_cpu_s, submitted_s = "", 0.0, 0.0, 0.0
    runs: dict[int, dict[str, Any]] = {}
    asked_s = 0.0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess, OSError):
            times = own.cpu_times()
            cpu_s = times.user + times.system
            if not start_cpu_s and any(entry.state is State.RUNNING for entry in queue.entries(ended=False)):
                start_cpu_s = cpu_s
            if not urgent and len(queue.entries(ended=True)) >= 3:
                urgent = _add(queue, store, master, "urgent", 95)
                submitted_s = time.time()
            if time.monotonic() - asked_s >= ASK_S:
                asked_s = time.monotonic()
                with urllib.request.urlopen(f"http://{address}/api/v1/overview", timeout=5) as answer:
                    runs |= {run["run"]: run for run in json.load(answer)["runs"]}
        time.sleep(0.5)
    found = queue.read_all([*jobs, urgent])
    encoder_cpu_s = sum(job.status.account.total_cpu_s for job in found)
    work_s = sum(job.status.account.task_s for job in found)
    makespan_s = max(_at(job, State.DONE) for job in found) - min(_at(job, State.RUNNING) for job in found)
    return {
        "makespan_s": makespan_s,
        "work_s": work_s,
        "makespan_ratio": makespan_s / (work_s / WORKERS),
        "urgent_wait_s": min(run["began_s"] for run in runs.values() if run["job"] == urgent) - submitted_s,
        "longest_task_s": max(run["ended_s"] - run["began_s"] for run in runs.values() if run["ended_s"]),
        "encoder_cpu_s": encoder_cpu_s,
        "dispatcher_cpu_s": cpu_s,
        "start_cpu_s": start_cpu_s,
        "dispatcher_share": cpu_s / encoder_cpu_s,
    }


def _at(job: Job, state: State) -> float:
    """Return the Unix time at which a job first entered a state."""
    return next(datetime.fromisoformat(change.at).timestamp() for change in job.history if change.state is state)


def _take_over(store: Store, master: Path) -> float:
    queue = Queue(store)
    job = _add(queue, store, master, "film")
    first = _dispatch(store)
    while queue.read(job).state is not State.RUNNING:
        time.sleep(0.1)
    second = _dispatch(store, "--until-idle", "--json", out=subprocess.PIPE)
    assert second.stdout is not None
    while b"standing by" not in second.stdout.readline():
        assert second.poll() is None
    time.sleep(3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed_s = time.monotonic()
    while queue.read(job).status.fence != 2:
        time.sleep(0.1)
    takeover_s = time.monotonic() - killed_s
    second.send_signal(signal.SIGTERM)
    second.wait()
    return takeover_s


def _list_many(folder: Path) -> float:
    queue = Queue(open_store(StoreSettings(str(folder))))
    _fill(queue)
    started_s = time.monotonic()
    assert len(queue.all_entries()) == MANY
    return time.monotonic() - started_s


def _poll_many() -> tuple[float, float]:
    queue, backlog = Queue(MemoryStore()), Backlog()
    _fill(queue)
    started_s = time.process_time()
    backlog.load(queue.entries(ended=False))
    loaded_s = time.process_time()
    for _ in range(POLLS):
        queue.add(REQUEST, priority=60)
        entries, keys = queue.news()
        for entry in filter(None, entries):
            backlog.update(entry)
        queue.delete_news(keys)
        assert backlog.take_next({}, 8) is not None
    return loaded_s - started_s, (time.process_time() - loaded_s) / POLLS


def _fill(queue: Queue) -> None:
    """Add many jobs to the queue, like ``submit --from``."""
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda job: queue.add(REQUEST, priority=50, job=job, news=False), _ids()))


def _ids() -> list[str]:
    return [new_id() for _ in range(MANY)]
