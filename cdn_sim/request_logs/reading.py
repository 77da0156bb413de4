"""Reads requests from a log in any known format: the object, size and time of each.

The format is detected from the first bytes of the file. Files compressed with gzip are unpacked. A log may have many
millions of lines: what is kept of a request takes 12 bytes, and of an object some 200.

==================  ================================================================================
decision log        of an edge; see `cdn_sim.request_logs.decisions`
access log          of the origin or an edge: a JSON object per line; GET with status 200 or 206
CSV                 the first line names the columns; time, key (or id, url, …) and size are used
oracleGeneral       libCacheSim's binary records: time, object, size and next use, 24 bytes each
==================  ================================================================================
"""

import csv
import gzip
import io
import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.request_logs.decisions import LIMIT, MAGIC, Kind, Record, parse
from headend.core.errors import ConfigError

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read. Longer ones are damaged, such as the zeros that a crashed machine leaves in a file."""
MAX_DAMAGED_LINES, MAX_DAMAGED_SHARE = 100, 0.01
"""An access log is refused if it has more damaged lines than this number plus this share of its lines so far."""
_READ_BYTES = 1 << 20
OnProgress = Callable[[int, int], None]
"""Called with the number of bytes that have been read from a file, and its size."""
_ORACLE = np.dtype([("time_s", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
_COLUMNS = {
    "time": ("time", "timestamp", "ts", "clock_time", "time_s", "time_ms"),
    "key": ("key", "id", "obj_id", "object", "object_id", "url", "path"),
    "size": ("size", "obj_size", "size_bytes", "bytes", "object_size"),
}


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a log, in order.

    Attributes:
        numbers: int32, object of each request, numbered from 0 in order of first appearance.
        sizes: int64, bytes of each object.
        times_ms: int64, time of each request.
        keys: Name of each object; empty if the log has only numbers.
        format: Format of the log.
        note: What the user should know about skipped parts of the log; empty if nothing was skipped.
    """

    numbers: Array
    sizes: Array
    times_ms: Array
    keys: tuple[str, ...]
    format: str
    note: str = ""

    @property
    def bytes(self) -> int:
        """Sum of the sizes of all requests."""
        return int(self.sizes[self.numbers].sum())

    @property
    def footprint_bytes(self) -> int:
        """Sum of the sizes of all objects."""
        return int(self.sizes.sum())


def is_decision_log(path: Path) -> bool:
    """Whether a file starts like a decision log.

    Raises:
        ConfigError: The file can't be read.
    """
    with _opened(path) as stream:
        return stream.read(len(MAGIC)) == MAGIC.encode()


@contextmanager
def decision_records(path: Path, on_progress: OnProgress = lambda _read, _size: None) -> Iterator[Iterator[Record]]:
    """Open a decision log, and yield an iterator over its records.

    Raises:
        ConfigError: The log can't be read, or is damaged.
    """
    with _opened(path, on_progress) as stream:
        yield parse(_text_lines(stream), path.name)


def read(path: Path, on_progress: OnProgress = lambda _read, _size: None, *, may_have_none: bool = False) -> Requests:
    """Read a log of any known format.

    Args:
        path: The file.
        on_progress: Called for every MiB of the file.
        may_have_none: Whether a log without requests is accepted, such as that of an edge without viewers.

    Raises:
        ConfigError: The file can't be read, its format is unknown, it is damaged, or it has no requests.
    """
    with _opened(path, on_progress) as stream:
        head = stream.peek(1 << 12)[: 1 << 12]
        if not head:
            raise ConfigError(f"{path.name} is empty: give a log with requests")
        requests = _reader(head)(stream, path.name)
    if not len(requests.numbers) and not may_have_none:
        why = f" ({requests.note})" if requests.note else ""
        raise ConfigError(f"{path.name} ({requests.format}) has no usable requests{why}: give a log with requests")
    return requests


def _reader(head: bytes) -> "Callable[[io.BufferedReader, str], Requests]":
    if head.startswith(MAGIC.encode()):
        return _decisions
    is_text = b"\0" not in head
    first, *others = head.split(b"\n", 2)
    # Logs that were rotated while they were written begin in the middle of a line.
    if head.lstrip()[:1] == b"{" or (is_text and others and others[0].startswith(b'{"')):
        return _access_log
    if is_text and b"," in first and all(32 <= byte < 127 or byte in b"\t\r" for byte in first):
        return _csv
    return _oracle_general


class _ObservedFile(io.FileIO):
    """A file that reports how much of it has been read."""

    def __init__(self, path: Path, on_progress: OnProgress) -> None:
        super().__init__(path)
        self._on_progress = on_progress
        self._size_bytes = os.fstat(self.fileno()).st_size
        self._read_bytes = 0

    def readinto(self, buffer: Any, /) -> int | None:
        count = super().readinto(buffer)
        self._read_bytes += count or 0
        self._on_progress(self._read_bytes, self._size_bytes)
        return count


@contextmanager
def _opened(path: Path, on_progress: OnProgress = lambda _read, _size: None) -> Iterator[io.BufferedReader]:
    try:
        with io.BufferedReader(_ObservedFile(path, on_progress), _READ_BYTES) as raw:
            is_gzip = raw.peek(2)[:2] == b"\x1f\x8b"
            stream: Any = io.BufferedReader(gzip.GzipFile(fileobj=raw), _READ_BYTES) if is_gzip else raw
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(
            f"{path.name} can't be unpacked: {error}. Copy it again, or unpack the intact part"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; only the start of those that are longer than `MAX_LINE_BYTES`, without an end."""
    while line := stream.readline(MAX_LINE_BYTES):
        yield line
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)


def _text_lines(stream: IO[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in _lines(stream))


def _number_objects(
    rows: Iterable[tuple[int, str, int]], name: str, log_format: str, note: Callable[[], str] = lambda: ""
) -> Requests:
    """Number the objects of requests, which are rows of time in ms, key and size.

    If an object is requested with different sizes, the largest one counts, because requests may be for a part.
    """
    object_numbers: dict[str, int] = {}
    numbers, times, sizes = array("i"), array("q"), array("q")
    for time_ms, key, size_bytes in rows:
        if not (-LIMIT < time_ms < LIMIT and 0 <= size_bytes < LIMIT):
            raise ConfigError(
                f"{name}, request {len(numbers) + 1}: its time or size is out of range; correct or remove it"
            )
        number = object_numbers.setdefault(key, len(object_numbers))
        if number == len(sizes):
            sizes.append(size_bytes)
        elif size_bytes > sizes[number]:
            sizes[number] = size_bytes
        numbers.append(number)
        times.append(time_ms)
    requests = Requests(
        np.array(numbers, dtype=np.int32),
        np.array(sizes, dtype=np.int64),
        np.array(times, dtype=np.int64),
        tuple(object_numbers),
        log_format,
        note(),
    )
    if requests.sizes[requests.numbers].sum(dtype=np.float64) >= LIMIT:
        raise ConfigError(
            f"{name}: the sizes of its requests add up to more than {LIMIT / 1e18:.1f} EB; check that they are in bytes"
        )
    return requests


def _decisions(stream: io.BufferedReader, name: str) -> Requests:
    rows = (
        (record.time_ms, record.key, record.size_bytes)
        for record in parse(_text_lines(stream), name)
        if record.kind is Kind.REQUEST
    )
    return _number_objects(rows, name, "decision log")


class _AccessLogLine(msgspec.Struct):
    at_s: float = 0.0
    method: str = "GET"
    path: str = ""
    status: int = 0
    sent_bytes: int = 0
    lost_lines: int = 0


def _access_log(stream: io.BufferedReader, name: str) -> Requests:
    decoder = msgspec.json.Decoder(_AccessLogLine)
    damaged = first_damaged = lost = 0

    def rows() -> Iterator[tuple[int, str, int]]:
        nonlocal damaged, first_damaged, lost
        for line_number, line in enumerate(_lines(stream), 1):
            try:
                entry = decoder.decode(line)
                is_damaged = not (abs(entry.at_s) < LIMIT / 1000 and 0 <= entry.sent_bytes < LIMIT)
            except (msgspec.DecodeError, UnicodeDecodeError):
                is_damaged = True
            if is_damaged:
                damaged += 1
                first_damaged = first_damaged or line_number
                if damaged > MAX_DAMAGED_LINES + MAX_DAMAGED_SHARE * line_number:
                    raise ConfigError(f"{name} is not an access log: line {first_damaged} and many others are damaged")
                continue
            lost += entry.lost_lines
            if entry.path and entry.method == "GET" and entry.status in (200, 206):
                yield int(entry.at_s * 1000), entry.path, entry.sent_bytes

    def note() -> str:
        notes = []
        if damaged:
            lines = "1 damaged line," if damaged == 1 else f"{damaged:,} damaged lines, the first is"
            notes.append(f"skipped {lines} line {first_damaged:,}")
        if lost:
            notes.append(f"{lost:,} requests are missing, because the server could not write their lines fast enough")
        return "; ".join(notes)

    return _number_objects(rows(), name, "access log", note)


def _csv(stream: io.BufferedReader, name: str) -> Requests:
    table = csv.reader(_text_lines(stream))
    try:
        header = [column.strip().lower() for column in next(table)]
    except csv.Error as error:
        raise ConfigError(f"{name}, line 1: not valid CSV ({error})") from error
    columns = {}
    for field, names in _COLUMNS.items():
        found = [header.index(column) for column in names if column in header]
        if not found and field != "time":
            raise ConfigError(f"{name}, line 1: no column is named {field!r}; name the columns time, key and size")
        columns[field] = found[0] if found else -1
    scale = 1 if columns["time"] >= 0 and header[columns["time"]] == "time_ms" else 1000

    def records() -> Iterator[list[str]]:
        try:
            yield from table
        except csv.Error as error:
            raise ConfigError(
                f"{name}, line {table.line_num}: not valid CSV ({error}); correct or remove it"
            ) from error

    def rows() -> Iterator[tuple[int, str, int]]:
        for line_number, row in enumerate(records(), 2):
            try:
                time_ms = int(float(row[columns["time"]]) * scale) if columns["time"] >= 0 else line_number
                key, size_bytes = row[columns["key"]], int(row[columns["size"]])
            except (ValueError, IndexError, OverflowError):
                if not row:
                    continue
                raise ConfigError(
                    f"{name}, line {line_number}: time or size is not a number; correct or remove it"
                ) from None
            if not 0 <= size_bytes < LIMIT:
                raise ConfigError(f"{name}, line {line_number}: a size can't be {size_bytes}; correct or remove it")
            yield time_ms, key, size_bytes

    return _number_objects(rows(), name, "CSV")


def _oracle_general(stream: io.BufferedReader, name: str) -> Requests:
    data = stream.read()
    whole, rest = divmod(len(data), _ORACLE.itemsize)
    table = np.frombuffer(data, dtype=_ORACLE, count=whole)
    times = table["time_s"].astype(np.int64)
    if not whole or (np.diff(times) < 0).any():
        raise ConfigError(f"{name} has an unknown format: give a decision log, access log, CSV or oracleGeneral trace")
    _, first, inverse = np.unique(table["object"], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # numbers in order of first appearance
    sizes = np.zeros(len(first), dtype=np.int64)
    numbers = order[inverse].astype(np.int32)
    sizes[order] = table["size"][first]
    note = f"the file is truncated in record {whole + 1:,}; the {whole:,} records before it are used" if rest else ""
    return Requests(numbers, sizes, times * 1000, (), "oracleGeneral", note)
