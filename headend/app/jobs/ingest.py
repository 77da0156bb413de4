"""A watched folder: masters that have been delivered whole become jobs, each once.

A master is whole when a file with its name and ``.done`` lies beside it, or when its size and time have not changed for
a while. What was taken is on record in the store, so that a restart, or a second watcher, takes nothing twice.
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

from headend.app.jobs.lists import check, words
from headend.app.jobs.model import utc_now
from headend.core import documents, layout
from headend.core.errors import ConfigError, HeadendError, StorageError
from headend.core.storage import ObjectInfo, Store

SETTLE_S = 60.0
"""How long a file without mark must stay as it is."""
MASTERS = frozenset({".mov", ".mp4", ".m4v", ".mxf", ".mkv", ".ts", ".m2ts", ".mts", ".avi", ".mpg", ".mpeg", ".webm"})
MARK = ".done"
SIDECAR = ".toml"
SIDECAR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a file.

    Attributes:
        url: The file.
        version: Its size and what else tells that it is the same.
        at: UTC, ISO 8601.
        job: The job that it became; empty if it was refused.
        why: Why it was refused.
    """

    url: str
    version: str
    at: str
    job: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A master that is whole.

    Attributes:
        key: Where it lies in the watched folder.
        version: Its size and what else tells that it is the same.
        words: The command line that submits it, without the master.
    """

    key: str
    version: str
    words: tuple[str, ...]


class Watcher:
    """Looks into one folder again and again.

    Args:
        ingest: The watched folder.
        store: Where it is put on record what was taken.
        address: Gives the master's address for a key of the folder.
        submit: Queues a command line under an id; harmless when repeated. Raises `ConfigError` for what can't be.
        options: What a sidecar may set.
        settle_s: How long a file without mark must stay as it is.
        clock: Seconds that never go back.
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
        self._seen: dict[str, tuple[str, float]] = {}
        self._recorded: set[str] = set()
        """Records that were found before: a folder of old masters costs no request for each of them."""

    @property
    def remembered(self) -> frozenset[str]:
        """Records that it does not look for again."""
        return frozenset(self._recorded)

    def look(self) -> tuple[Ingested, ...]:
        """Look once; returns what was taken or refused now.

        Raises:
            StorageError: The folder or the store can't be read or written.
        """
        found = {info.key: info for info in self._ingest.list("")}
        self._seen = {key: seen for key, seen in self._seen.items() if key in found}
        done = []
        asked: set[str] = set()
        for key, info in found.items():
            if PurePosixPath(key).suffix.lower() in MASTERS and self._whole(info, found):
                url, version = self._address(key), _version(info)
                beside = found.get(str(PurePosixPath(key).with_suffix(SIDECAR)))
                record = layout.ingested(digest(url, version))
                # What was refused is looked at again when its sidecar was corrected.
                refusal = layout.ingested(digest(url, f"{version} {_version(beside) if beside else ''}"))
                asked |= {record, refusal}
                if not self._known(record, refusal):
                    taken = self._take(info, version, found)
                    self._store.put(record if taken.job else refusal, documents.write(taken))
                    done.append(taken)
        self._recorded &= asked  # those of files that have gone are of no use any more
        return tuple(done)

    def _known(self, *records: str) -> bool:
        if self._recorded.isdisjoint(records):
            self._recorded.update(islice(filter(self._is_stored, records), 1))
        return not self._recorded.isdisjoint(records)

    def _is_stored(self, record: str) -> bool:
        return any(True for _ in self._store.keys(record))

    def _whole(self, info: ObjectInfo, found: Mapping[str, ObjectInfo]) -> bool:
        if info.key + MARK in found:
            return True
        version, now_s = _version(info), self._clock()
        known, since_s = self._seen.get(info.key, ("", now_s))
        if known != version:
            self._seen[info.key] = (version, now_s)
            return self._settle_s <= 0
        return now_s - since_s >= self._settle_s

    def _take(self, info: ObjectInfo, version: str, found: Iterable[str]) -> Ingested:
        key, url = info.key, self._address(info.key)
        # The same file has the same id: a watcher that is killed before it makes its record queues nothing twice.
        job = f"{info.modified:%Y%m%dt%H%M%S}{info.modified.microsecond // 1000:03}-{digest(url, version)[:6]}"
        try:
            row = self._sidecar(key, found)
            row.setdefault("title", slug(PurePosixPath(key).stem))
            self._submit(words({**row, "master": url}, key), job)
        except StorageError:
            raise
        except HeadendError as error:
            return Ingested(url, version, utc_now(), why=error.message)
        return Ingested(url, version, utc_now(), job=job)

    def _sidecar(self, key: str, found: Iterable[str]) -> dict[str, Any]:
        place = str(PurePosixPath(key).with_suffix(SIDECAR))
        if place not in found:
            return {}
        data = self._ingest.get_range(place, 0, SIDECAR_BYTES + 1)
        if len(data) > SIDECAR_BYTES:
            raise ConfigError(f"{place} has more than {SIDECAR_BYTES >> 20} MiB: it is no sidecar")
        try:
            row = tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{place} is not TOML: {error}") from error
        folder = PurePosixPath(place).parent
        options = {name.replace("_", "-"): value for name, value in row.items()}
        check(options, self._options, place)
        if isinstance(texts := options.get("subtitles"), list):
            # Names of files count from the sidecar's own folder.
            options["subtitles"] = [
                self._address(str(folder / text)) if isinstance(text, str) and "://" not in text else text
                for text in texts
            ]
        return options


def _version(info: ObjectInfo) -> str:
    return f"{info.size_bytes}-{info.etag}"


def slug(name: str) -> str:
    """A title's name from a file's: small letters, digits and dashes.

    Raises:
        ConfigError: Nothing is left of it.
    """
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")
    if not found:
        raise ConfigError(f"no title name can be derived from {name!r}: give one as title in a sidecar {name}{SIDECAR}")
    return found


def digest(url: str, version: str) -> str:
    """What a file is on record under."""
    return hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]
