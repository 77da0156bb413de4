"""Read samples of an open master by the positions in its index, without FFmpeg's demuxer."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from av.container import InputContainer
from av.index import IndexEntry

from encoder.probing.opening import input_options
from encoder.sample_tables import read_part

_REQUESTS = 8
"""Number of concurrent requests for parts of a master in S3."""


def is_local(container: InputContainer) -> bool:
    """Whether a master is a file on this machine, where random reads are cheap."""
    return container.name.startswith("file:")


def read_samples(container: InputContainer, entries: Sequence[IndexEntry], max_bytes: int = 1 << 30) -> list[bytes]:
    """Read samples, or the first bytes of each.

    Args:
        container: The open master.
        entries: The samples' entries in the index.
        max_bytes: Maximum number of bytes of each.

    Raises:
        av.FFmpegError: The master can't be read.
    """
    parts = [(entry.pos, min(entry.size, max_bytes)) for entry in entries]
    if is_local(container):
        with Path(container.name.removeprefix("file:")).open("rb") as file:
            return [os.pread(file.fileno(), count, at) for at, count in parts]
    read = partial(read_part, container.name, container.size, input_options(container.name))
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda part: read(*part), parts))


def spread(count: int, max_count: int) -> list[int]:
    """At most ``max_count`` evenly spaced numbers from 0 to ``count - 1``, including the first and the last."""
    if count <= max_count:
        return list(range(count))
    return sorted({number * (count - 1) // (max_count - 1) for number in range(max_count)})
