"""Processes that tests look for."""

from contextlib import suppress
from pathlib import Path

import psutil


def encoders_of(path: Path) -> list[psutil.Process]:
    """Return the FFmpeg processes, whatever their parent, whose command line names a master, or a file of a folder."""
    found = []
    # By name first: reading the command line of every process takes long on a machine with many.
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith("ffmpeg"):
            continue
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if "-filter_complex" in words and str(path) in " ".join(words) and is_alive(process):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; an orphan may stay a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
