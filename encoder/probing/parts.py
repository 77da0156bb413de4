"""Parts of an open master, wherever its index says that they are, without FFmpeg's demuxer."""

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
"""How many parts of a master in a store are asked for at once."""


def is_local(container: InputContainer) -> bool:
    """Whether a master is a file on this machine, any part of which is read at no cost."""
    return container.name.startswith("file:")


def read_samples(container: InputContainer, entries: Sequence[IndexEntry], most_bytes: int = 1 << 30) -> list[bytes]:
    """Read the beginnings of samples.

    Args:
        container: The open master.
        entries: Where they are, by its index.
        most_bytes: How much of each is wanted.

    Raises:
        av.FFmpegError: The master can't be read.
    """
    places = [(entry.pos, min(entry.size, most_bytes)) for entry in entries]
    if is_local(container):
        with Path(container.name.removeprefix("file:")).open("rb") as file:
            return [os.pread(file.fileno(), count, at) for at, count in places]
    read = partial(read_part, container.name, container.size, input_options(container.name))
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda place: read(*place), places))


def spread(count: int, most: int) -> list[int]:
    """Numbers from 0 to below ``count`` that lie evenly, the first and the last among them, at most ``most``."""
    if count <= most:
        return list(range(count))
    return sorted({number * (count - 1) // (most - 1) for number in range(most)})
