"""The command ``headend`` as people run it: a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def serving(*args: str | Path, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a command that serves until the block ends; gives its address and its process.

    ``inside`` are the words of a program that runs it.
    """
    argv = [*inside, *command(*args, "--port", "0", "--json")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment()) as child:
        try:
            assert child.stdout is not None
            said = ""
            while not said.endswith("}\n"):
                line = child.stdout.readline()
                assert line, "it does not start"
                said += line
            yield str(json.loads(said)["url"]), child
        finally:
            child.terminate()  # so that its logs are whole
            child.wait(30)
