"""Checks of an installation, each with a remedy if something is wrong."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from encoder import cluster, tool
from headend import __version__
from headend.core.codecs import media_codecs
from headend.core.errors import HeadendError
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import Store, open_store

ENCODERS = tuple(codec.encoder for codec in media_codecs())
"""Encoders that FFmpeg must have."""
CONDITIONAL_WRITE_TRIALS = 4
"""How often two concurrent writers test whether a store supports conditional writes."""
FILTERS = ("zscale", "libvmaf", "loudnorm", "ebur128", "bwdif")
SLOW_STORE_S = 0.5
"""A store is reported as slow if writing a small object takes longer than this."""
SCRATCH_BYTES = 20 << 30
"""Free space below which a chunk of a 2160p title may not fit."""


class Health(StrEnum):
    """The result of a check."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its result.

    Attributes:
        name: What was checked.
        health: The result.
        detail: Details for people.
        remedy: What to do; empty if nothing is wrong.
    """

    name: str
    health: Health
    detail: str
    remedy: str = ""


def checks(store: StoreSettings, settings: ClusterSettings, scratch: Path | None = None) -> Iterator[Check]:
    """Check what a job needs; yield each result when it is known.

    Args:
        store: Where titles go.
        settings: Where tasks run.
        scratch: Where encoders write; None for the default folder of temporary files.
    """
    yield Check("headend", Health.GOOD, f"version {__version__}")
    yield from _ffmpeg()
    yield from _store(store)
    yield _scratch(scratch or Path(tempfile.gettempdir()))
    yield _cores()
    if settings.scheduler is not None:
        yield from _cluster(settings)


def _ffmpeg() -> Iterator[Check]:
    reinstall = "reinstall headend, or set HEADEND_FFMPEG to an FFmpeg that has them"
    try:
        path, version = tool.ffmpeg_path(), tool.version()
        encoders = _listed(path, "-encoders")
        filters = _listed(path, "-filters")
    except (HeadendError, OSError, subprocess.SubprocessError) as error:
        yield Check("FFmpeg", Health.BAD, str(error), reinstall)
        return
    yield Check("FFmpeg", Health.GOOD, f"{version}, {path}")
    for kind, wanted, found in (("encoders", ENCODERS, encoders), ("filters", FILTERS, filters)):
        missing = [name for name in wanted if name not in found]
        if missing:
            yield Check(f"FFmpeg's {kind}", Health.BAD, f"missing: {', '.join(missing)}", reinstall)
        else:
            yield Check(f"FFmpeg's {kind}", Health.GOOD, ", ".join(wanted))


def _listed(path: str, option: str) -> frozenset[str]:
    done = subprocess.run([path, "-hide_banner", option], capture_output=True, text=True, timeout=60, check=True)
    return frozenset(line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 1)


def _store(settings: StoreSettings) -> Iterator[Check]:
    if "://" not in settings.url and not Path(settings.url).is_dir():
        yield Check("store", Health.WARNING, f"{settings.url} does not exist yet", "the first submit creates it")
        return
    key, data = f"probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        store = open_store(settings)
        started_s = time.monotonic()
        store.put(key, data)
        written_s = time.monotonic() - started_s
        found = store.get(key)
        supported = all(_one_wins(store, f"{key}-{number}") for number in range(CONDITIONAL_WRITE_TRIALS))
        list(store.list(key))
        store.delete(key)
    except HeadendError as error:
        yield Check("store", Health.BAD, error.message, "check the address, the credentials and the server")
        return
    if found != data:
        yield Check("store", Health.BAD, f"{store.url} returned different bytes than were written", "check the server")
        return
    slow = written_s > SLOW_STORE_S
    yield Check(
        "store",
        Health.WARNING if slow else Health.GOOD,
        f"{store.url}: writes, reads, lists and deletes; {written_s * 1000:,.0f} ms to write a small object",
        "a slow store delays every segment: check the network to it" if slow else "",
    )
    yield Check(
        "conditional writes",
        Health.GOOD if supported else Health.WARNING,
        "supported" if supported else "ignored by this server",
        "" if supported else "jobs are safe, but keep the time short in which two dispatchers run",
    )


def _one_wins(store: Store, key: str) -> bool:
    """Return whether exactly one of two concurrent conditional writers succeeds."""
    start = threading.Barrier(2)

    def write(data: bytes) -> bool:
        start.wait(10)
        return store.put_if_absent(key, data)

    with ThreadPoolExecutor(2) as pool:
        won = sum(pool.map(write, (b"one", b"two")))
    store.delete(key)
    return won == 1


def _scratch(folder: Path) -> Check:
    if not os.access(folder, os.W_OK):
        return Check("scratch", Health.BAD, f"{folder} can't be written", "correct its permissions, or set TMPDIR")
    free_bytes = shutil.disk_usage(folder).free
    scarce = free_bytes < SCRATCH_BYTES
    return Check(
        "scratch",
        Health.WARNING if scarce else Health.GOOD,
        f"{folder}: {free_bytes / 1e9:,.0f} GB free",
        f"chunks of large titles need up to {SCRATCH_BYTES >> 30} GiB: make room, or use another disk"
        if scarce
        else "",
    )


def _cores() -> Check:
    return Check("cores", Health.GOOD, f"{cluster.available_cores()} of this machine may be used")


def _cluster(settings: ClusterSettings) -> Iterator[Check]:
    try:
        workers = cluster.workers_of(settings)
    except HeadendError as error:
        yield Check("scheduler", Health.BAD, error.message, "start it, or correct --scheduler")
        return
    yield Check("scheduler", Health.GOOD, f"{settings.scheduler}: {len(workers)} workers")
