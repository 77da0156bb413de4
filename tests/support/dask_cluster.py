"""A real Dask cluster of separate processes, as an operator would start it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

START_S = 240


@dataclass
class DaskCluster:
    """A scheduler and workers, each a process that a test may stop, kill or add to.

    Attributes:
        folder: Where they run.
        environment: Variables of all of them.
        scheduler: The scheduler's process.
        workers: The workers' processes, or their nannies'.
        address: The scheduler's.
        nannies: Whether another process starts each worker, and restarts it when it dies.
    """

    folder: Path
    environment: dict[str, str]
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    address: str = ""
    nannies: bool = True

    def start_worker(self, *args: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start one more worker of one thread; does not wait for it."""
        command = ["worker", self.address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        command += [*([] if self.nannies else ["--no-nanny"]), *args]
        worker = _start(self.folder, {**self.environment, **(environment or {})}, *command)
        self.workers.append(worker)
        return worker

    def restart_scheduler(self, port: str) -> None:
        """Start a scheduler again at the last one's address."""
        self.scheduler = _start(
            self.folder, self.environment, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"
        )

    def wait_for(self, workers: int) -> None:
        """Wait until the scheduler knows this number of workers."""
        from distributed import Client  # takes a second, which tests without a cluster need not wait for

        with Client(self.address, timeout=START_S) as client:
            client.wait_for_workers(workers, timeout=START_S)


@contextmanager
def dask_cluster(
    folder: Path,
    *,
    workers: int = 2,
    environment: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
    nannies: bool = False,
) -> Iterator[DaskCluster]:
    """Run ``dask scheduler`` and some ``dask worker`` processes."""
    address_file = folder / "scheduler.json"
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        # As in the guide to content operations: otherwise, workers under Python 3.11 may freeze.
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
        # Processes that wait for tasks would otherwise wake up fifty times a second.
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
        "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
        "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "10s",
        **(environment or {}),
    }
    scheduler = _start(
        folder, env, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(address_file),
    )  # fmt: skip
    cluster = DaskCluster(folder, env, scheduler, nannies=nannies)
    try:
        deadline_s = time.monotonic() + START_S
        while not address_file.exists() or not address_file.read_text().endswith("}"):
            assert time.monotonic() < deadline_s, "the scheduler did not start"
            time.sleep(0.05)
        cluster.address = json.loads(address_file.read_text())["address"]
        for _ in range(workers):
            cluster.start_worker(*arguments)
        if workers:
            cluster.wait_for(workers)
        yield cluster
    finally:
        # Killed, since an orderly end would wait for processes that a test has frozen or killed.
        for process in (*cluster.workers, cluster.scheduler):
            for each in (*_children(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            process.wait()


@contextmanager
def dask_processes(
    folder: Path, *, workers: int = 2, environment: dict[str, str] | None = None, nannies: bool = False
) -> Iterator[str]:
    """Run a cluster; yield the scheduler's address."""
    with dask_cluster(folder, workers=workers, environment=environment, nannies=nannies) as cluster:
        yield cluster.address


def _children(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _start(folder: Path, env: dict[str, str], *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *args],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, shared by all tests that only need a cluster."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster.address
