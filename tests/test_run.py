import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.masters import make_film

RUN = Path(__file__).parents[1] / "run"


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Call `./run` with a command that needs no set-up, from another folder."""
    return subprocess.run([RUN, *args], cwd=folder, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_without_a_command_run_says_how_it_is_used(tmp_path: Path, args: tuple[str, ...]) -> None:
    output = run(tmp_path, *args)
    assert (output.returncode, output.stderr) == (0, "")
    for command in ("demo", "headend", "test", "lint", "check", "bench", "tool"):
        assert f"\n  {command} " in output.stdout


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    output = run(tmp_path, "dmeo")
    assert (output.returncode, output.stdout) == (2, "")
    assert 'no command "dmeo"' in output.stderr


def test_without_python_run_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "cksum", "dirname", "flock", "rm", "sh"):
        (tools / name).symlink_to(next(p for p in (Path("/usr/bin", name), Path("/bin", name)) if p.exists()))
    (tmp_path / "run").write_bytes(RUN.read_bytes())
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "pyproject.toml").write_bytes(RUN.with_name("pyproject.toml").read_bytes())
    output = subprocess.run(
        [tmp_path / "run", "headend"], env={"PATH": str(tools)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert output.returncode == 1
    assert "install one" in output.stderr


def test_run_passes_arguments_and_exit_status_of_headend_on(tmp_path: Path) -> None:
    # A checkout with a finished environment, whose programs are those of the tests, so run has nothing to set up.
    checkout, tools = tmp_path / "checkout", tmp_path / "tools"
    programs = checkout / ".venv" / "bin"
    for folder in (programs, tools):
        folder.mkdir(parents=True)
    for name in ("run", "pyproject.toml"):
        (checkout / name).write_bytes(RUN.with_name(name).read_bytes())
    for path, line in (
        (checkout / "run", None),
        (programs / "python", f'exec {sys.executable} "$@"'),
        (programs / "headend", f'PYTHONPATH={RUN.parent} exec {sys.executable} -m headend "$@"'),
        (tools / "uv", "exit 1"),
    ):
        if line is not None:
            path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    (checkout / ".venv" / "made-for").write_text(f"{checkout}\n")
    ready = subprocess.run(["cksum"], input=(checkout / "pyproject.toml").read_bytes(), capture_output=True, check=True)
    (checkout / ".venv" / "set-up-use").write_bytes(ready.stdout)

    def headend(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [checkout / "run", "headend", *args], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        )  # fmt: skip

    film = make_film(tmp_path / "film.mov", frame_count=25)
    planned = headend("plan", str(film), "--title", "film", "--ladder", "smoke", "--json")
    assert planned.returncode == 0, planned.stderr
    missing = headend("submit", "nope.mov", "--title", "film")
    assert (missing.returncode, missing.stderr.count("\n")) == (3, 1), missing.stderr
    assert "nope.mov" in missing.stderr
