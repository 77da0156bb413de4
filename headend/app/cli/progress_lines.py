"""Progress lines on standard error, for commands that may take long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from headend.app.cli.wording import bytes_text

EVERY_S = 10.0
"""Interval between lines. Commands that are done within this time print none."""


class ProgressLines:
    """Prints a line from time to time.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written_s = clock()

    def write(self, text: str) -> None:
        """Print a line, unless less than `EVERY_S` have passed since the last one."""
        if self._clock() - self._written_s >= EVERY_S:
            self._written_s = self._clock()
            click.echo(f"headend: {text}", err=True)


def reading_progress(file: Path) -> Callable[[int, int], None]:
    """Return a function that prints how much of a file has been read; it takes the bytes read and the file's size."""
    lines = ProgressLines()
    return lambda read_bytes, size_bytes: lines.write(
        f"{file.name}: read {bytes_text(read_bytes)} of {bytes_text(size_bytes)}"
    )


@contextmanager
def repeated(text: Callable[[], str]) -> Iterator[None]:
    """Print a line every `EVERY_S` while a block runs, whatever it waits for.

    Args:
        text: Returns the line; called in another thread.
    """
    ended = threading.Event()

    def print_lines() -> None:
        while not ended.wait(EVERY_S):
            click.echo(f"headend: {text()}", err=True)

    threading.Thread(target=print_lines, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
