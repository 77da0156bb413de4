"""Carrying out one task: the command runs, its outputs lie in a scratch folder."""

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoder import loudness, reencoding, tool
from encoder.command import MASTER, PROGRAM, SCRATCH, SHEETS
from encoder.text import MASTER_IN_GRAPH, SIDECAR, in_graph, sidecar_path
from headend.errors import CommandRefused, ToolFailed
from headend.media import EncodeTask, Kind, Loudness
from headend.process import Finished, run
from headend.storage.masters import redact

QUIET = {"SVT_LOG": "1"}
"""SVT-AV1 writes its settings past FFmpeg's log level; 1 leaves errors."""

REFUSALS = frozenset({8, 256 - errno.EINVAL})
"""Statuses with which FFmpeg refuses a command: it ends with the last byte of its error's number.

8 is for an option, a filter, an encoder or a format that it does not have (``AVERROR_OPTION_NOT_FOUND`` and others like
it); what is wrong with a master has other numbers, such as ``AVERROR_INVALIDDATA`` (183).

Source: FFmpeg's ``libavutil/error.h``.
"""


@dataclass(frozen=True, slots=True)
class Encoded(Finished):
    """A task that was carried out, and what it cost in all.

    Attributes:
        loudness: Of sound: as measured and set, for each layout.
        decode_errors: How often decoders and the demuxer complained of the streams that were read.
    """

    loudness: tuple[Loudness, ...] = ()
    decode_errors: int = 0


def encode(
    task: EncodeTask,
    *,
    input_url: str,
    scratch: Path,
    cancelled: Callable[[], bool],
    on_frames: Callable[[int], None],
) -> Encoded:
    """Run a task's command; of sound, measure its loudness first. Text that FFmpeg does not read has none.

    Args:
        task: What to do.
        input_url: The master, as FFmpeg opens it: a path or a presigned URL.
        scratch: An empty folder.
        cancelled: Becomes true when the task is to stop.
        on_frames: Gets the number of frames done, now and then.

    Returns:
        What it cost. Every rendition lies at `output`, every sheet of thumbnails at `sheet`, cues of text at
        `encoder.text.output`.

    Raises:
        ToolFailed: FFmpeg is missing, failed or stalled.
        CommandRefused: FFmpeg does not take the command.
        Cancelled: The task was told to stop.
    """
    errors = 0

    def listen(line: str) -> None:
        nonlocal errors
        errors += tells_of_damage(line, task)

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "frame" and value.strip().isdigit():
            on_frames(int(value))

    def carry_out(argv: Sequence[str], placeholders: Mapping[str, str]) -> Finished:
        whole = {PROGRAM: tool.ffmpeg_path(), MASTER: input_url, SIDECAR: str(sidecar_path(scratch))}
        filled = [whole[word] if word in whole else fill(word, placeholders) for word in argv]
        try:
            return run(filled, cancelled=cancelled, on_line=read, on_error_line=listen, environment=QUIET)
        except ToolFailed as error:
            # The evidence must not hold the master's presigned URL: the command is shown as planned.
            facts = {**error.facts, "argv": list(argv), "stderr": redact(error.facts.get("stderr", ""))}
            refused = error.facts.get("status") in REFUSALS
            raise (CommandRefused if refused else ToolFailed)(redact(error.message), **facts) from None

    placeholders = {SCRATCH: str(scratch), MASTER_IN_GRAPH: in_graph(input_url)}
    if not task.argv:
        return Encoded(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    if task.kind is Kind.VIDEO:
        learned = _first_pass(task, scratch, lambda argv: carry_out(argv, placeholders))
        errors = 0  # the same frames are decoded once more
        made = carry_out(task.argv, placeholders)
        return Encoded(
            cpu_s=learned.cpu_s + made.cpu_s,
            wall_s=learned.wall_s + made.wall_s,
            peak_memory_bytes=max(learned.peak_memory_bytes, made.peak_memory_bytes),
            stderr=made.stderr,
            decode_errors=errors,
        )
    if task.levelling is None:
        made = carry_out(task.argv, placeholders)
        return Encoded(made.cpu_s, made.wall_s, made.peak_memory_bytes, made.stderr, decode_errors=errors)
    heard = carry_out(task.levelling.argv, {})
    errors = 0  # the same sound is decoded once more
    decided = loudness.levels(task.levelling, redact(heard.stderr))
    made = carry_out(task.argv, {**placeholders, **loudness.words(task.levelling, decided)})
    return Encoded(
        cpu_s=heard.cpu_s + made.cpu_s,
        wall_s=heard.wall_s + made.wall_s,
        peak_memory_bytes=max(heard.peak_memory_bytes, made.peak_memory_bytes),
        stderr=made.stderr,
        loudness=decided,
        decode_errors=errors,
    )


def _first_pass(task: EncodeTask, scratch: Path, carry_out: Callable[[Sequence[str]], Finished]) -> Finished:
    """Let encoders of two passes read the chunk once, before all outputs are made."""
    argv = reencoding.first_pass(task.argv)
    if not argv:
        return Finished(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    done = carry_out(argv)
    names = reencoding.log_names(task.argv)
    for rendition, name in reencoding.log_names(argv).items():
        (scratch / name).rename(scratch / names[rendition])
    return done


def tells_of_damage(line: str, task: EncodeTask) -> bool:
    """Whether a line of FFmpeg's says that something of what a task reads is damaged.

    Source: FFmpeg's ``fftools/ffmpeg_dec.c`` and ``ffmpeg_demux.c``, in the words of their warnings and errors.
    """
    corrupt = re.search(r"corrupt input packet in stream (\d+)", line)
    return "[dec:" in line or (corrupt is not None and int(corrupt[1]) in {reading.stream for reading in task.reads})


def fill(word: str, placeholders: Mapping[str, str]) -> str:
    """Put what placeholders stand for into a word of a command."""
    for placeholder, text in placeholders.items():
        word = word.replace(placeholder, text)
    return word


def output(scratch: Path, rendition: str) -> Path:
    """Where a task's command leaves a rendition."""
    return scratch / f"{rendition}.mp4"


def sheet(scratch: Path, place: int) -> Path:
    """Where a task's command leaves a sheet of thumbnails; counted from 1 in each task, 0 is none that is kept."""
    return scratch / SHEETS.removeprefix(f"{SCRATCH}/").replace("%d", str(place))
