"""Runs the command ``headend`` as people do, in a separate process, or in this one, which starts a second earlier."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from headend.app.cli import run

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


def headend_here(*args: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in this process, for tests that are not about processes."""
    words, out, err = [*map(str, args)], io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        status = run(words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def read_ready(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the JSON that a serving command prints once its port is open; fails if the command ends before that."""
    assert child.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = child.stdout.readline()
        assert line, f"it ended with status {child.wait()} before it was ready: {text}"
        text += line
    ready: dict[str, Any] = json.loads(text)
    return ready


@contextmanager
def serving(
    *args: str | Path, inside: tuple[str, ...] = (), **more: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a serving command until the block ends; yields its address and its process.

    ``inside`` holds the words of a program that runs it, and ``more`` adds to its environment.
    """
    argv = [*inside, *command(*args, "--port", "0", "--json")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(**more)) as child:
        try:
            yield str(read_ready(child)["url"]), child
        finally:
            child.terminate()  # lets it complete its logs
            child.wait(30)
