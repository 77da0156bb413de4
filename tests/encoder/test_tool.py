"""Which FFmpeg encodes, and what is said when there is none."""

import re
from pathlib import Path

import imageio_ffmpeg
import pytest

from encoder import tool
from headend.errors import ToolFailed, WorkerUnfit


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tool.OVERRIDE, raising=False)


def test_the_ffmpeg_that_came_with_the_installation_encodes() -> None:
    assert tool.ffmpeg_path() == imageio_ffmpeg.get_ffmpeg_exe()
    assert re.match(r"ffmpeg version n?9\.", tool.version())
    assert "Copyright" not in tool.version()


def test_another_ffmpeg_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = script(tmp_path / "ffmpeg", "echo 'ffmpeg version 9.9-mine Copyright (c) 2000-2030 the developers'")
    monkeypatch.setenv(tool.OVERRIDE, str(other))

    assert tool.ffmpeg_path() == str(other)
    assert tool.version() == "ffmpeg version 9.9-mine"


def test_an_override_that_names_nothing_is_a_clear_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    for wrong in ("", str(tmp_path / "missing"), str(tmp_path), str(plain)):
        monkeypatch.setenv(tool.OVERRIDE, wrong)
        with pytest.raises(ToolFailed, match="HEADEND_FFMPEG must name an executable file"):
            tool.version()


@pytest.mark.parametrize("body", ["exit 1", "kill -9 $$"])
def test_a_program_that_fails_is_a_clear_failure(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tool.OVERRIDE, str(script(tmp_path / "ffmpeg", body)))
    with pytest.raises(ToolFailed, match="does not run"):
        tool.version()


@pytest.mark.parametrize("body", [":", "echo hello", "printf '\\377\\376'"])
def test_a_program_that_is_no_ffmpeg_is_a_clear_failure(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tool.OVERRIDE, str(script(tmp_path / "ffmpeg", body)))
    with pytest.raises(ToolFailed, match="is not an FFmpeg"):
        tool.version()


def test_a_file_that_cannot_be_executed_is_a_clear_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_bytes(b"\x7fELF not a program")
    broken.chmod(0o755)
    monkeypatch.setenv(tool.OVERRIDE, str(broken))
    with pytest.raises(ToolFailed, match="does not run"):
        tool.version()


def test_the_version_of_the_plan_is_accepted() -> None:
    tool.check_version(tool.version())


def test_another_version_than_the_plans_is_refused_with_both() -> None:
    with pytest.raises(WorkerUnfit, match="the plan was made with 'ffmpeg version 8'") as caught:
        tool.check_version("ffmpeg version 8")
    assert tool.version() in str(caught.value)
