"""Formatting text and numbers for people, safely; nothing here is slow to import."""

import os
import shlex
from fractions import Fraction

from headend.core.errors import HeadendError
from headend.core.storage.masters import redact

PROGRAM = "HEADEND_CALLED_AS"
"""The variable in which ``./run`` passes the name that it was called by."""
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def program() -> str:
    """Return how this program was called: ``headend`` or ``./run headend``."""
    return os.environ.get(PROGRAM, "headend")


def printable(text: str) -> str:
    """Replace control characters in a line: file names and track titles may be hostile to terminals."""
    return "".join(character if character.isprintable() else "�" for character in text)


def evidence(error: HeadendError) -> str:
    """Format the facts of an error, one per line, without secrets."""
    lines: list[str] = []
    for name, value in error.facts.items():
        if isinstance(value, str) and "\n" in value:
            lines += [f"{name}:", *value.splitlines()]
        elif isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            lines += [f"{name}: {shlex.join(value)}" if name == "argv" else f"{name}: {'; '.join(value)}"]
        else:
            lines += [f"{name}: {value}"]
    return "".join(f"  {printable(redact(line))}\n" for line in lines)


def rate_text(rate: Fraction) -> str:
    """Format a frame rate: ``25``, ``23.976``."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def kbps_text(rate_bps: float) -> str:
    """Format a bit rate: ``6,000 kb/s``."""
    return f"{rate_bps / 1000:,.0f} kb/s"


def bytes_text(count: int) -> str:
    """Format a number of bytes in binary units: ``1.5 GiB``, ``12 bytes``."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:,.4g} {name}"
    return f"{count} bytes"


def clock_text(seconds: float) -> str:
    """Format a duration: ``0:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def count_text(count: int, noun: str) -> str:
    """Format a number with its noun: ``1 task``, ``1,200 tasks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
