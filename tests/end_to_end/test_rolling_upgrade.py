"""A cluster is upgraded, one process after the other, while a job runs."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import pytest

import headend
from headend.app.jobs.model import State
from headend.app.jobs.queue import Queue
from headend.app.request import Request
from headend.app.verifying import verify
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from tests.support.command_line import ROOT, command, environment
from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.jobs import picture_ladder
from tests.support.masters import make_film
from tests.support.waiting import wait_until

NEXT = "0.1.1.dev1"


def next_version(folder: Path) -> Path:
    """Copy the source tree, with another version number."""
    for package in ("headend", "encoder", "packager", "ladders", "origin", "cdn_sim"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    marked = folder / "headend" / "__init__.py"
    marked.write_text(marked.read_text().replace(f'"{headend.__version__}"', f'"{NEXT}"'))
    return folder


@contextmanager
def dispatching(
    cluster: DaskCluster, store: StoreSettings, tree: Path, log: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A dispatcher from a source tree, with its output in a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("dispatch", "--store", store.url, "--scheduler", cluster.address),
            env={**environment(), "PYTHONPATH": str(tree)}, cwd=tree, stdout=file, stderr=file,
        )  # fmt: skip
        try:
            yield lambda: process
        finally:
            process.kill()
            process.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a worker in an orderly way, as an upgrade does; its task is interrupted."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()
    process.wait()


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_workers_and_then_the_dispatcher_are_replaced_while_a_job_runs(tmp_path: Path) -> None:
    newer = next_version(tmp_path / "next")
    settings = StoreSettings(str(tmp_path / "store"))
    queue = Queue(open_store(settings))
    master = make_film(tmp_path / "film.mov", frame_count=20_000, size=(320, 180))
    request = Request(
        str(master), "film", picture_ladder(), settings, ClusterSettings(), EncodeSettings(Fraction(1), Fraction(2))
    )
    job = queue.add(request, priority=50).id
    old_log, new_log = tmp_path / "old.txt", tmp_path / "new.txt"

    def done() -> int:
        progress = queue.read(job).status.progress
        return progress.tasks_done if progress else 0

    with dask_cluster(tmp_path, workers=2) as cluster, dispatching(cluster, settings, ROOT, old_log) as old:
        wait_until(lambda: done() > 0, "the first task")
        stop(cluster.workers[0])
        cluster.start_worker(environment={"PYTHONPATH": str(newer)})
        left_out = f"it has headend {NEXT}, and this is {headend.__version__}"
        wait_until(lambda: left_out in old_log.read_text(), "the newer worker is left out and named")
        before = done()
        wait_until(lambda: done() > before, "the job goes on with the older worker")
        with dispatching(cluster, settings, newer, new_log):
            wait_until(lambda: "standing by" in new_log.read_text(), "the newer dispatcher stands by")
            stop(old())
            left_out = f"it has headend {headend.__version__}, and this is {NEXT}"
            wait_until(lambda: left_out in new_log.read_text(), "the older worker is left out and named")
            stop(cluster.workers[1])
            cluster.start_worker(environment={"PYTHONPATH": str(newer)})
            wait_until(lambda: queue.read(job).state.ended, "the job's end")
    found = queue.read(job)
    assert (found.state, found.why) == (State.DONE, "")
    assert not verify(open_store(settings), "film").findings
    assert "Traceback" not in old_log.read_text() + new_log.read_text()
