"""Describes the machine on which a benchmark ran."""

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import headend
from headend.core.process import processor

PACKAGES = ("headend", "msgspec", "m3u8", "imageio-ffmpeg")
"""Packages whose versions affect the results, besides Python."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine and time of a measurement.

    Attributes:
        processor: Name of the CPU.
        cores: Number of CPUs that this process may use.
        memory_bytes: Memory of the machine.
        system: Operating system and its release.
        python: Implementation and version.
        packages: Versions of `PACKAGES`.
        measured_at: Time in UTC, ISO 8601.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]
    measured_at: str


def describe() -> Machine:
    """Describe this machine."""
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {sys.version.split()[0]}",
        packages={name: _version(name) for name in PACKAGES},
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _version(package: str) -> str:
    if package == "headend":
        return headend.__version__  # also correct in a checkout that is not installed
    return version(package)
