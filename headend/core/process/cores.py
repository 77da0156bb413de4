"""How many cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: those it may run on, or fewer where a control group limits its CPU time.

    Args:
        proc: The control groups of a process.
        mount: Where control groups are mounted.

    Returns:
        At least 1; a quota of 1.5 cores counts as 2.

    Source:
        Linux, Documentation/admin-guide/cgroup-v2.rst (``cpu.max``) and scheduler/sched-bwc.rst (version 1).
    """
    quotas = [quota for folder in _folders(proc, mount) if (quota := _quota(folder)) is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas)]))


def _folders(proc: Path, mount: Path) -> Iterator[Path]:
    """The folders of this process's control groups and of all above them: the tightest limit holds."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        roots = [mount] if not controllers else [mount / controllers] if "cpu" in controllers.split(",") else []
        for root in roots:
            # In a container that has no namespace of its own the path is the host's, and only the mount is ours.
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:depth])


def _quota(folder: Path) -> float | None:
    """Cores that a control group may use; None for no limit."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" is none
        return None
