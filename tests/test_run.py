import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "run"


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Call `./run` with what needs no set-up, from another folder."""
    return subprocess.run([RUN, *args], cwd=folder, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_without_a_command_run_says_how_it_is_used(tmp_path: Path, args: tuple[str, ...]) -> None:
    said = run(tmp_path, *args)
    assert (said.returncode, said.stderr) == (0, "")
    for command in ("demo", "headend", "test", "lint", "check", "bench", "tool"):
        assert f"\n  {command} " in said.stdout


def test_unknown_command_is_wrong_use(tmp_path: Path) -> None:
    said = run(tmp_path, "dmeo")
    assert (said.returncode, said.stdout) == (2, "")
    assert 'no command "dmeo"' in said.stderr


def test_without_python_run_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "cksum", "dirname", "flock", "rm", "sh"):
        (tools / name).symlink_to(next(p for p in (Path("/usr/bin", name), Path("/bin", name)) if p.exists()))
    (tmp_path / "run").write_bytes(RUN.read_bytes())
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "pyproject.toml").write_bytes(RUN.with_name("pyproject.toml").read_bytes())
    said = subprocess.run(
        [tmp_path / "run", "headend"], env={"PATH": str(tools)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert said.returncode == 1
    assert "install one" in said.stderr
