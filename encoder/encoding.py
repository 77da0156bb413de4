"""Carrying out one task: the command runs, its outputs lie in a scratch folder."""

from collections.abc import Callable
from pathlib import Path

from encoder import tool
from encoder.command import MASTER, PROGRAM, SCRATCH
from headend.errors import ToolFailed
from headend.media import EncodeTask
from headend.process import Finished, run
from headend.storage.masters import redact

QUIET = {"SVT_LOG": "1"}
"""SVT-AV1 writes its settings past FFmpeg's log level; 1 leaves errors."""


def encode(
    task: EncodeTask,
    *,
    input_url: str,
    scratch: Path,
    cancelled: Callable[[], bool],
    on_frames: Callable[[int], None],
) -> Finished:
    """Run a task's command.

    Args:
        task: What to do.
        input_url: The master, as FFmpeg opens it: a path or a presigned URL.
        scratch: An empty folder.
        cancelled: Becomes true when the task is to stop.
        on_frames: Gets the number of frames done, now and then.

    Returns:
        What it cost. Every rendition lies at `output`.

    Raises:
        ToolFailed: FFmpeg is missing, failed or stalled.
        Cancelled: The task was told to stop.
    """
    words = {PROGRAM: tool.ffmpeg_path(), MASTER: input_url}
    argv = [words[word] if word in words else word.replace(SCRATCH, str(scratch)) for word in task.argv]

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "frame" and value.strip().isdigit():
            on_frames(int(value))

    try:
        return run(argv, cancelled=cancelled, on_line=read, environment=QUIET)
    except ToolFailed as error:
        # The evidence must not hold the master's presigned URL: the command is shown as planned.
        facts = {**error.facts, "argv": list(task.argv), "stderr": redact(error.facts.get("stderr", ""))}
        raise ToolFailed(redact(error.message), **facts) from None


def output(scratch: Path, rendition: str) -> Path:
    """Where a task's command leaves a rendition."""
    return scratch / f"{rendition}.mp4"
