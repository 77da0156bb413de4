"""The facts of a machine that a result means nothing without."""

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import headend

PACKAGES = ("headend", "msgspec", "m3u8", "imageio-ffmpeg")
"""What decides how fast the measured code is, beside Python."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when something was measured.

    Attributes:
        processor: The CPU's name.
        cores: CPUs that this process may use.
        memory_bytes: Memory of the machine.
        system: Operating system and its release.
        python: Version and implementation.
        packages: Versions of what is measured and what it stands on.
        measured_at: UTC, ISO 8601.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]
    measured_at: str


def describe() -> Machine:
    """Look at this machine."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {sys.version.split()[0]}",
        packages={name: _version(name) for name in PACKAGES},
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _version(package: str) -> str:
    if package == "headend":
        return headend.__version__  # right in a checkout too, where nothing is installed
    return version(package)
