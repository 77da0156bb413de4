"""Running one task: the command runs as planned, and its errors contain no secret."""

import resource
from pathlib import Path

import psutil
import pytest

from encoder import encoding, tool
from headend.core.errors import Cancelled, CommandRefused, ToolFailed, WorkerUnfit
from tests.support.encodes import carry_out, task_of
from tests.support.playback import frames

SECRET = "https://vault.example/film.mov?X-Amz-Signature=5ecre7&X-Amz-Credential=AKIA5ECRET"
ENCODE = (
    "ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-progress", "pipe:1", "-i", "{master}", "-frames:v", "5",
    "-c:v", "libx264", "-preset", "ultrafast", "{scratch}/avc.mp4",
)  # fmt: skip


@pytest.fixture
def film(tmp_path: Path) -> Path:
    # Characters that a shell or a format string would interpret.
    path = tmp_path / "a film {scratch} $HOME 'quoted' %d.y4m"
    header = b"YUV4MPEG2 W64 H64 F25:1 Ip A1:1 C420\n"
    path.write_bytes(header + b"".join(b"FRAME\n" + bytes([40 * number]) * 6144 for number in range(5)))
    return path


def test_outputs_are_written_to_the_scratch_folder(film: Path, tmp_path: Path) -> None:
    outputs = carry_out(task_of(ENCODE, ["avc"]), film, tmp_path / "scratch")

    assert len(list(frames(outputs["avc"]))) == 5
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["avc.mp4"]


def test_progress_is_reported_in_frames_and_the_cost_is_measured(film: Path, tmp_path: Path) -> None:
    progress: list[int] = []
    finished = encoding.encode(
        task_of(ENCODE, ["avc"]),
        input_url=str(film),
        scratch=tmp_path,
        cancelled=lambda: False,
        on_frames=progress.append,
    )

    assert progress[-1] == 5
    assert progress == sorted(progress)
    assert finished.cpu_s > 0
    assert finished.peak_memory_bytes > 1_000_000


def test_a_failure_shows_the_command_as_planned_and_never_the_masters_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaky = tmp_path / "ffmpeg"
    leaky.write_text('#!/bin/sh\necho "$@" >&2\necho "can not read $9" >&2\nexit 1\n')
    leaky.chmod(0o755)
    monkeypatch.setenv(tool.OVERRIDE, str(leaky))
    task = task_of(ENCODE, ["avc"])

    with pytest.raises(ToolFailed) as caught:
        encoding.encode(task, input_url=SECRET, scratch=tmp_path, cancelled=lambda: False, on_frames=lambda _: None)

    error = caught.value
    assert error.facts["argv"] == list(task.argv)
    assert error.facts["status"] == 1
    message = f"{error} {error.facts} {error.__cause__}"
    assert "5ecre7" not in message.lower()
    assert error.__suppress_context__


def test_an_error_contains_the_end_of_ffmpegs_output(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="ffmpeg") as caught:
        carry_out(task_of(ENCODE, ["avc"]), tmp_path / "missing.mov", tmp_path)
    assert "No such file" in caught.value.facts["stderr"]


@pytest.mark.parametrize(
    "options",
    [
        ("-no_such_option", "1"),
        ("-vf", "no_such_filter"),
        ("-c:v", "no_such_encoder"),
        ("-vf", "crop=9999:9999"),
        ("-profile:v", "no_such_profile"),
    ],
)
def test_a_command_that_ffmpeg_refuses_is_not_retried(options: tuple[str, str], film: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="fault of headend") as caught:
        carry_out(task_of((*ENCODE[:-1], *options, ENCODE[-1]), ["avc"]), film, tmp_path / "scratch")
    assert not caught.value.retryable


def test_a_task_whose_master_can_not_be_read_may_be_retried(tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_bytes(b"no film at all" * 1000)
    with pytest.raises(ToolFailed) as caught:
        carry_out(task_of(ENCODE, ["avc"]), tmp_path / "film.mov", tmp_path / "scratch")
    assert caught.value.retryable


def test_a_cancelled_task_ends(tmp_path: Path) -> None:
    endless = tuple(word for word in ENCODE if word not in ("-frames:v", "5"))
    at = endless.index("-i")
    argv = (*endless[:at], "-re", "-f", "lavfi", *endless[at:])

    with pytest.raises(Cancelled):
        encoding.encode(
            task_of(argv, ["avc"]),
            input_url="testsrc=size=64x64",
            scratch=tmp_path,
            cancelled=lambda: True,
            on_frames=lambda _: None,
        )


# --- hung encoders and full disks ---------------------------------------------------------------------------------

ENDLESS = (
    "ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-progress", "pipe:1", "-re", "-f", "lavfi", "-i", "{master}",
    "-c:v", "libx264", "-preset", "ultrafast", "{scratch}/avc.mp4",
)  # fmt: skip
NOISE = (
    "ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-progress", "pipe:1", "-f", "lavfi", "-i", "{master}",
    "-frames:v", "2000", "-c:v", "rawvideo", "-f", "nut", "{scratch}/raw.nut",
)  # fmt: skip


def test_a_frozen_encoder_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "IDLE_S", 1.0)

    def freeze(_: int) -> None:
        for process in psutil.process_iter(["cmdline"]):
            if str(tmp_path / "avc.mp4") in (process.info["cmdline"] or []):
                process.suspend()

    with pytest.raises(ToolFailed, match="did nothing for 1 s and was stopped"):
        encoding.encode(
            task_of(ENDLESS, ["avc"]),
            input_url="testsrc=size=64x64",
            scratch=tmp_path,
            cancelled=lambda: False,
            on_frames=freeze,
        )


def test_the_error_for_a_full_scratch_disk_states_the_needed_space(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, hard))
    try:
        with pytest.raises(WorkerUnfit, match=r"scratch folder .* is full: the task needs .* MB and .* MB are free"):
            encoding.encode(
                task_of(NOISE, ["raw"]),
                input_url="testsrc=size=640x360",
                scratch=tmp_path,
                cancelled=lambda: False,
                on_frames=lambda _: None,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
