"""Watching a folder: each master that has been delivered completely becomes a job, once.

A master is complete when a file of its name plus ``.done`` exists, or when its size and time have not changed for a
while. Ingested masters are recorded in the store, so that neither a restart nor a second watcher ingests one twice.
"""

import hashlib
import re
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from headend.app.jobs.lists import arguments, check
from headend.app.jobs.model import utc_now
from headend.core import documents, layout
from headend.core.errors import ConfigError, HeadendError, StorageError
from headend.core.storage import ObjectInfo, Store

SETTLE_S = 60.0
"""How long a file without a ``.done`` file must stay unchanged."""
MASTERS = frozenset({".mov", ".mp4", ".m4v", ".mxf", ".mkv", ".ts", ".m2ts", ".mts", ".avi", ".mpg", ".mpeg", ".webm"})
DONE_SUFFIX = ".done"
SIDECAR = ".toml"
SIDECAR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Ingested:
    """The record of an ingested or refused master.

    Attributes:
        url: The master.
        version: Its size and entity tag, which identify its content.
        at: UTC, ISO 8601.
        job: Id of its job; empty if it was refused.
        why: The reason if it was refused.
    """

    url: str
    version: str
    at: str
    job: str = ""
    why: str = ""


class Watcher:
    """Turns the complete masters of one folder into jobs.

    Args:
        ingest: The watched folder.
        store: Where ingested masters are recorded.
        address: Returns the URL of a key in the folder.
        submit: Queues a command line under a job id; repeating it is harmless. Raises `ConfigError` if it is invalid.
        options: Options that a sidecar may set.
        settle_s: How long a file without a ``.done`` file must stay unchanged.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        ingest: Store,
        store: Store,
        address: Callable[[str], str],
        submit: Callable[[Sequence[str], str], None],
        options: Collection[str],
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ingest = ingest
        self._store = store
        self._address = address
        self._submit = submit
        self._options = options
        self._settle_s = settle_s
        self._clock = clock
        self._unchanged: dict[str, tuple[str, float]] = {}
        """By key: a file's version, and since when it has had it."""
        self._recorded: set[str] = set()
        """Records known to exist, so that a folder of old masters costs no request for each of them."""

    @property
    def remembered(self) -> frozenset[str]:
        """Records that are not looked up again."""
        return frozenset(self._recorded)

    def scan(self) -> tuple[Ingested, ...]:
        """Scan the folder once; return the masters that were ingested or refused by this scan.

        Raises:
            StorageError: The folder or the store can't be read or written.
        """
        files = {info.key: info for info in self._ingest.list("")}
        self._unchanged = {key: since for key, since in self._unchanged.items() if key in files}
        results = []
        current: set[str] = set()
        for key, info in files.items():
            if PurePosixPath(key).suffix.lower() in MASTERS and self._is_complete(info, files):
                url, version = self._address(key), _version(info)
                sidecar = files.get(str(PurePosixPath(key).with_suffix(SIDECAR)))
                record = layout.ingested(digest(url, version))
                # The key depends on the sidecar, so that a refused master is tried again once its sidecar changes.
                refusal = layout.ingested(digest(url, f"{version} {_version(sidecar) if sidecar else ''}"))
                current |= {record, refusal}
                if not self._is_recorded(record, refusal):
                    ingested = self._submit_master(info, version, files)
                    self._store.put(record if ingested.job else refusal, documents.write(ingested))
                    results.append(ingested)
        self._recorded &= current  # drop records of files that no longer exist
        return tuple(results)

    def _is_recorded(self, *records: str) -> bool:
        if self._recorded.isdisjoint(records):
            self._recorded.update(islice(filter(self._is_stored, records), 1))
        return not self._recorded.isdisjoint(records)

    def _is_stored(self, record: str) -> bool:
        return any(True for _ in self._store.keys(record))

    def _is_complete(self, info: ObjectInfo, files: Mapping[str, ObjectInfo]) -> bool:
        if info.key + DONE_SUFFIX in files:
            return True
        version, now_s = _version(info), self._clock()
        known, since_s = self._unchanged.get(info.key, ("", now_s))
        if known != version:
            self._unchanged[info.key] = (version, now_s)
            return self._settle_s <= 0
        return now_s - since_s >= self._settle_s

    def _submit_master(self, info: ObjectInfo, version: str, files: Iterable[str]) -> Ingested:
        key, url = info.key, self._address(info.key)
        # The id follows from the file: a watcher that is killed before it writes its record queues nothing twice.
        job = f"{info.modified:%Y%m%dt%H%M%S}{info.modified.microsecond // 1000:03}-{digest(url, version)[:6]}"
        try:
            row = self._sidecar(key, files)
            row.setdefault("title", slug(PurePosixPath(key).stem))
            self._submit(arguments({**row, "master": url}, key), job)
        except StorageError:
            raise
        except HeadendError as error:
            return Ingested(url, version, utc_now(), why=error.message)
        return Ingested(url, version, utc_now(), job=job)

    def _sidecar(self, key: str, files: Iterable[str]) -> dict[str, Any]:
        place = str(PurePosixPath(key).with_suffix(SIDECAR))
        if place not in files:
            return {}
        data = self._ingest.get_range(place, 0, SIDECAR_BYTES + 1)
        if len(data) > SIDECAR_BYTES:
            raise ConfigError(f"{place} is larger than {SIDECAR_BYTES >> 20} MiB, too large for a sidecar")
        try:
            row = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{place} is not TOML: {error}") from error
        folder = PurePosixPath(place).parent
        options = {name.replace("_", "-"): value for name, value in row.items()}
        check(options, self._options, place)
        if isinstance(texts := options.get("subtitles"), list):
            # Paths are relative to the sidecar's folder.
            options["subtitles"] = [
                self._address(str(folder / text)) if isinstance(text, str) and "://" not in text else text
                for text in texts
            ]
        return options


def _version(info: ObjectInfo) -> str:
    return f"{info.size_bytes}-{info.etag}"


def slug(name: str) -> str:
    """Derive a title's slug from a file name: lower-case letters, digits and dashes.

    Raises:
        ConfigError: The name has no letters or digits.
    """
    title = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")
    if not title:
        raise ConfigError(f"no title can be derived from {name!r}: set title in the sidecar {name}{SIDECAR}")
    return title


def digest(url: str, version: str) -> str:
    """Return the name of a file's record."""
    return hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]
