"""The command ``headend`` as people run it: a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "headend", *map(str, args)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def headend(*args: str | Path, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with ``more`` environment."""
    return subprocess.run(
        command(*args), capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=120, check=False
    )
