"""The processor, and the number of cores that this process may use."""

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def available_cores(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its CPU affinity and the CPU quotas of its control groups.

    Args:
        proc: File that lists the process's control groups.
        mount: Mount point of the control groups.

    Returns:
        At least 1; a quota of 1.5 cores counts as 2.

    Source:
        Linux, Documentation/admin-guide/cgroup-v2.rst (``cpu.max``) and scheduler/sched-bwc.rst (version 1).
    """
    quotas = [quota for folder in _folders(proc, mount) if (quota := _quota(folder)) is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas)]))


def processor() -> str:
    """The model of the processor as the kernel names it; the architecture if it names none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _folders(proc: Path, mount: Path) -> Iterator[Path]:
    """The folders of this process's control groups and of all their ancestors: the lowest quota applies."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        roots = [mount] if not controllers else [mount / controllers] if "cpu" in controllers.split(",") else []
        for root in roots:
            # In a container without a cgroup namespace, the path is the host's, and only the mount is the container's.
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:depth])


def _quota(folder: Path) -> float | None:
    """The CPU quota of a control group in cores; None for no limit."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" means no limit
        return None
