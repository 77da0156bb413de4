"""Options and fixtures of all tests."""

import os
import signal

import pytest
from hypothesis import settings

# Measuring costs more than encoding what most tests encode; those about quality ask for it.
os.environ.setdefault("HEADEND_QC", "off")
# No test asserts on timing, and a deadline for each example would.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell that runs tests in the background lets them ignore Ctrl-C, and so would every program that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.support.s3_servers", "tests.support.dask_cluster"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--heavy", action="store_true", help="run the tests that take more than a minute, too")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, since many tests wait: for servers, clusters, and films that play."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.get_closest_marker("heavy"):
            continue
        if not config.getoption("--heavy"):
            item.add_marker(pytest.mark.skip(reason="takes more than a minute; run with --heavy"))
        elif not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
