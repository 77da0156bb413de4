"""Choice of the FFmpeg that encodes, and the error if there is none."""

import hashlib
import re
from pathlib import Path

import imageio_ffmpeg
import pytest

from encoder import tool
from headend.core.errors import ToolFailed, WorkerUnfit


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


def test_an_override_without_a_program_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    for wrong in ("", str(tmp_path / "missing"), str(tmp_path), str(plain)):
        monkeypatch.setenv(tool.OVERRIDE, wrong)
        with pytest.raises(ToolFailed, match="HEADEND_FFMPEG must name an executable file"):
            tool.version()


@pytest.mark.parametrize("body", ["exit 1", "kill -9 $$"])
def test_a_program_that_fails_is_reported(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tool.OVERRIDE, str(script(tmp_path / "ffmpeg", body)))
    with pytest.raises(ToolFailed, match="does not run"):
        tool.version()


@pytest.mark.parametrize("body", [":", "echo hello", "printf '\\377\\376'"])
def test_a_program_other_than_ffmpeg_is_reported(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tool.OVERRIDE, str(script(tmp_path / "ffmpeg", body)))
    with pytest.raises(ToolFailed, match="is not FFmpeg"):
        tool.version()


def test_a_file_that_can_not_be_executed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_bytes(b"\x7fELF not a program")
    broken.chmod(0o755)
    monkeypatch.setenv(tool.OVERRIDE, str(broken))
    with pytest.raises(ToolFailed, match="does not run"):
        tool.version()


def test_the_program_of_the_plan_is_accepted_whatever_it_calls_itself() -> None:
    tool.check("ffmpeg version 8", tool.digest())


def test_another_program_than_the_plans_is_refused_with_both() -> None:
    with pytest.raises(WorkerUnfit, match=r"the plan was made with 'ffmpeg version 8' \(000000000000\)") as caught:
        tool.check("ffmpeg version 8", "0" * 64)
    assert tool.version() in str(caught.value) and tool.digest()[:12] in str(caught.value)


def test_the_digest_is_that_of_the_bytes_and_is_kept_for_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = script(tmp_path / "ffmpeg", "echo one")
    monkeypatch.setenv(tool.OVERRIDE, str(program))
    first = tool.digest()
    assert first == hashlib.sha256(program.read_bytes()).hexdigest()
    (kept,) = (tmp_path / "cache" / "headend").iterdir()
    assert kept.read_text() == first
    tool._digest.cache_clear()
    kept.write_text("1" * 64)
    assert tool.digest() == "1" * 64
    script(program, "echo another")
    assert tool.digest() == hashlib.sha256(program.read_bytes()).hexdigest()


def test_a_cache_that_can_not_be_written_or_is_damaged_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = script(tmp_path / "ffmpeg", "echo two")
    monkeypatch.setenv(tool.OVERRIDE, str(program))
    assert tool.digest() == hashlib.sha256(program.read_bytes()).hexdigest()
