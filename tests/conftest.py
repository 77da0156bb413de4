"""Options and fixtures of all tests."""

import gc
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import once

# Measuring costs more than encoding the short films of most tests; tests of quality switch it on.
os.environ.setdefault("HEADEND_QC", "off")
# No test asserts on timing, so hypothesis must not either.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A background shell makes processes ignore Ctrl-C, which programs that tests interrupt would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.support.s3_servers", "tests.support.dask_cluster"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--heavy", action="store_true", help="run the heavy tests, too: see CONTRIBUTING.md")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        once.make_folder()  # processes of xdist inherit its name


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        once.remove_folder()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two processes more than there are cores, since many tests wait for servers, clusters and playback.

    A single file or test runs in this process, since starting others would take longer than most files do.
    """
    if len(config.args) == 1 and ".py" in config.args[0]:
        return 0
    return len(os.sched_getaffinity(0)) + 2


def pytest_collection(session: pytest.Session) -> None:
    """Import a part of all tests first, another one in each process.

    In a fresh checkout, each process would otherwise compile every test, at the same time as the others.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or [Path(arg).name for arg in session.config.args] != ["tests"]:
        return
    modules = sorted(path.relative_to(session.config.rootpath) for path in Path(__file__).parent.rglob("test_*.py"))
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in modules[len(modules) * number // count : len(modules) * (number + 1) // count]:
        with suppress(Exception, pytest.skip.Exception):  # reported when it is collected
            import_module(".".join(path.with_suffix("").parts))


def slow_first(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Order tests so that each process of xdist begins with its share of the slow ones, and quick ones end the run.

    xdist gives each process one part of the list; a process that has nothing left takes the rear of another one's part.
    So files of slow tests stay whole, with what is made once for their tests, and no process plays films alone at the
    end.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        # All tests of conformance use the same title.
        group = {"conformance": folder, "end_to_end": item.path.name}.get(folder, "")
        groups.setdefault(group, []).append(item)
    quick, slow = groups.pop("", []), list(groups.values())
    ordered: list[pytest.Item] = []
    for number in range(processes):
        part = [item for group in slow[number::processes] for item in group]
        room = max(0, (len(items) - len(ordered)) // (processes - number) - len(part))
        ordered += [*part, *quick[:room]]
        del quick[:room]
    return ordered + quick


def pytest_collection_finish() -> None:
    """Exclude the tests from garbage collection, which otherwise visits all of them again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = slow_first(items, getattr(config, "workerinput", {}).get("workercount", 1))
    for item in items:
        if not item.get_closest_marker("heavy"):
            continue
        if not config.getoption("--heavy"):
            item.add_marker(pytest.mark.skip(reason="heavy; run with --heavy"))
        elif not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
