"""Words and figures for people, safe to print; nothing here is slow to import."""

import os
import shlex
from fractions import Fraction

from headend.core.errors import HeadendError
from headend.core.storage.masters import redact

PROGRAM = "HEADEND_CALLED_AS"
"""Names the variable by which ``./run`` says how it was called."""


def program() -> str:
    """What people type to run this program, as they did: ``headend``, or ``./run headend``."""
    return os.environ.get(PROGRAM, "headend")


def printable(text: str) -> str:
    """Take out of one line what a terminal would obey: a file's name or a track's title may be hostile."""
    return "".join(character if character.isprintable() else "�" for character in text)


def evidence(error: HeadendError) -> str:
    """The facts of an error, a line each, without secrets."""
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
    """Frames per second: ``25``, ``23.976``."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def kbps_text(rate_bps: float) -> str:
    """Bits per second as ``6,000 kb/s``."""
    return f"{rate_bps / 1000:,.0f} kb/s"


def clock_text(seconds: float) -> str:
    """A length of time as ``0:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def count_text(count: int, noun: str) -> str:
    """A number with its noun: ``1 task``, ``1,200 tasks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
