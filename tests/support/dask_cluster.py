"""A real Dask cluster of separate processes, as an operator would start it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client

START_S = 60


@contextmanager
def dask_processes(folder: Path, *, workers: int = 2, environment: dict[str, str] | None = None) -> Iterator[str]:
    """Run ``dask scheduler`` and some ``dask worker`` processes; yield the scheduler's address."""
    address_file = folder / "scheduler.json"
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        # As the guide to content operations says: workers under Python 3.11 may freeze otherwise.
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
        **(environment or {}),
    }

    def start(*args: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *args],
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    running = [
        start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address_file)
        )
    ]
    try:
        running += [
            start(
                "worker",
                "--scheduler-file",
                str(address_file),
                "--nthreads",
                "1",
                "--no-dashboard",
                "--host",
                "127.0.0.1",
            )
            for _ in range(workers)
        ]
        deadline = time.monotonic() + START_S
        while not address_file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        with Client(scheduler_file=str(address_file), timeout=START_S) as client:
            if workers:
                client.wait_for_workers(workers, timeout=START_S)
            address = client.scheduler.address
        yield address
    finally:
        # Workers first: they say goodbye to the scheduler, and wait for one that is gone.
        for group in (running[1:], running[:1]):
            for process in group:
                process.terminate()
            for process in group:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, shared by all tests that only need a cluster."""
    with dask_processes(tmp_path_factory.mktemp("dask")) as address:
        yield address
