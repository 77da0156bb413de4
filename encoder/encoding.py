"""Run one task: its FFmpeg command writes outputs into a scratch folder."""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from encoder import loudness, reencoding, tool
from encoder.command import MASTER, POSTERS, PROGRAM, SCRATCH, SHEETS
from encoder.text import SIDECAR, sidecar_path
from headend.core.errors import CommandRefused, ToolFailed, WorkerUnfit
from headend.core.media import EncodeTask, Kind, Loudness
from headend.core.process import Finished, Watch, run
from headend.core.storage.masters import redact

QUIET = {"SVT_LOG": "1"}
"""SVT-AV1 writes its settings past FFmpeg's log level; 1 leaves errors."""

REFUSALS = frozenset({8, 256 - errno.EINVAL})
"""Statuses with which FFmpeg refuses a command: it ends with the last byte of its error's number.

8 is for an option, a filter, an encoder or a format that it does not have (``AVERROR_OPTION_NOT_FOUND`` and others like
it); what is wrong with a master has other numbers, such as ``AVERROR_INVALIDDATA`` (183).

Source: FFmpeg's ``libavutil/error.h``.
"""


STALL_S = 300.0
"""How long FFmpeg may neither advance in frames, time or bytes."""
STALL_SHARE = 0.25
"""The same, as a share of what the task is expected to take: slow encoders fill long look-aheads first."""
IDLE_S = 120.0
"""How long it may do nothing at all."""
DEADLINE_S, DEADLINE_FACTOR, SLOWEST_BPS = 1800.0, 12.0, 16_000_000
"""How long a task may take: so long, so many times what is expected, and the time to read the master at so many bits a
second. It stops what goes round in circles; a busy machine must not reach it."""
MEMORY_FACTOR, LEAST_MEMORY_BYTES = 4, 8 << 30
"""How much memory FFmpeg may ask for, over what is set aside for its task: a hostile master gets no more."""
FILE_BYTES = 64 << 30
"""The largest file that it may write."""
_DAMAGED_HEVC = re.compile(r"^\[hevc @ .*(?:undecodable NALU: (?:[12]?\d|3[01])$|: mismatching checksum of plane)")
"""The decoder of HEVC leaves out parts of pictures that make no sense, and shows pictures whose checksum is wrong."""
NO_SPACE = re.compile("No space left on device|Disk quota exceeded|File too large")
FULL = frozenset({256 - errno.ENOSPC, 256 - errno.EDQUOT, 256 - errno.EFBIG, -signal.SIGXFSZ})
"""Statuses with which FFmpeg ends when its disk is full."""


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
    master_bytes: int = 0,
    source_progress: Callable[[], int] = lambda: 0,
    on_error_line: Callable[[str], None] = lambda _: None,
) -> Encoded:
    """Run a task's command; of sound, measure its loudness first. Text that FFmpeg does not read has none.

    Args:
        task: What to do.
        input_url: The master, as FFmpeg opens it, see `headend.core.storage.masters.opened`.
        scratch: An empty folder.
        cancelled: Becomes true when the task is to stop.
        on_frames: Gets the number of frames done, now and then.
        master_bytes: Size of the master, all of which a task may have to read.
        source_progress: Changes as long as the master is read, or waited for.
        on_error_line: Gets what FFmpeg says on standard error, line by line.

    Returns:
        What it cost. Every rendition lies at `output`, every sheet of thumbnails at `sheet`, cues of text at
        `encoder.text.output`.

    Raises:
        ToolFailed: FFmpeg is missing, failed or made no progress.
        WorkerUnfit: The scratch folder is full.
        CommandRefused: FFmpeg does not take the command.
        Cancelled: The task was told to stop.
    """
    errors = 0

    def listen(line: str) -> None:
        nonlocal errors
        errors += tells_of_damage(line, task)
        on_error_line(line)

    advanced: dict[str, int] = {}

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name in ("frame", "out_time_us", "total_size") and value.strip().isdigit():
            advanced[name] = int(value)
            if name == "frame":
                on_frames(int(value))

    def progress() -> tuple[int, ...]:
        return (*advanced.values(), _bytes_in(scratch), source_progress())

    watch = Watch(
        stall_s=max(STALL_S, STALL_SHARE * task.cost),
        idle_s=IDLE_S,
        progress=progress,
        deadline_s=DEADLINE_S + DEADLINE_FACTOR * task.cost + master_bytes * 8 / SLOWEST_BPS,
    )
    limits = {
        "DATA": max(LEAST_MEMORY_BYTES, MEMORY_FACTOR * task.memory_bytes),
        "FSIZE": FILE_BYTES,
    }

    def carry_out(argv: Sequence[str], placeholders: Mapping[str, str]) -> Finished:
        whole = {PROGRAM: tool.ffmpeg_path(), MASTER: input_url, SIDECAR: str(sidecar_path(scratch))}
        filled = [whole[word] if word in whole else fill(word, placeholders) for word in argv]
        try:
            return run(
                filled,
                cancelled=cancelled,
                on_line=read,
                on_error_line=listen,
                watch=watch,
                environment=QUIET,
                limits=limits,
            )
        except ToolFailed as error:
            # The evidence must not hold the master's secret address: the command is shown as planned.
            facts = {**error.facts, "argv": list(argv), "stderr": redact(error.facts.get("stderr", ""))}
            if error.facts.get("status") in FULL or NO_SPACE.search(error.facts.get("stderr", "")):
                raise no_space(scratch, _share_done(task, advanced.get("frame", 0)), **facts) from None
            refused = error.facts.get("status") in REFUSALS
            raise (CommandRefused if refused else ToolFailed)(redact(error.message), **facts) from None

    placeholders = {SCRATCH: str(scratch)}
    if not task.argv:
        return Encoded(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    if task.kind is Kind.VIDEO:
        learned = _first_pass(task, lambda argv: carry_out(argv, placeholders))
        errors = 0  # the same frames are decoded once more
        made = carry_out(task.argv, placeholders)
        return Encoded(
            cpu_s=learned.cpu_s + made.cpu_s,
            wall_s=learned.wall_s + made.wall_s,
            peak_memory_bytes=max(learned.peak_memory_bytes, made.peak_memory_bytes),
            stderr=made.stderr,
            decode_errors=errors,
        )
    if task.loudness_target is None:
        made = carry_out(task.argv, placeholders)
        return Encoded(made.cpu_s, made.wall_s, made.peak_memory_bytes, made.stderr, decode_errors=errors)
    heard = carry_out(task.loudness_target.argv, {})
    errors = 0  # the same sound is decoded once more
    decided = loudness.levels(task.loudness_target, redact(heard.stderr))
    made = carry_out(task.argv, {**placeholders, **loudness.words(task.loudness_target, decided)})
    return Encoded(
        cpu_s=heard.cpu_s + made.cpu_s,
        wall_s=heard.wall_s + made.wall_s,
        peak_memory_bytes=max(heard.peak_memory_bytes, made.peak_memory_bytes),
        stderr=made.stderr,
        loudness=decided,
        decode_errors=errors,
    )


def _first_pass(task: EncodeTask, carry_out: Callable[[Sequence[str]], Finished]) -> Finished:
    """Let encoders of two passes read the chunk once, before all outputs are made."""
    argv = reencoding.first_pass(task.argv)
    return carry_out(argv) if argv else Finished(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")


def no_space(scratch: Path, share_done: float = 0.0, **facts: object) -> WorkerUnfit:
    """The error of a scratch folder that is full.

    Args:
        scratch: The task's folder.
        share_done: How much of the task was done by then, 0 to 1.
        **facts: Evidence.
    """
    written_bytes = _bytes_in(scratch)
    needs = (
        f"about {written_bytes / share_done / 1e6:,.0f} MB"
        if share_done > 0.05
        else f"more than {written_bytes / 1e6:,.0f} MB"
    )
    free_bytes = shutil.disk_usage(scratch).free
    return WorkerUnfit(
        f"scratch folder {scratch.parent} is full: the task needs {needs} and {free_bytes / 1e6:,.0f} MB are free. "
        "Free some space there, or choose another folder with --scratch, or with 'dask worker --local-directory'",
        **facts,
    )


def _bytes_in(folder: Path) -> int:
    total_bytes = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # renamed just now
                total_bytes += entry.stat().st_size
    return total_bytes


def _share_done(task: EncodeTask, frames: int) -> float:
    return min(1.0, frames / task.chunk.frame_count) if task.kind is Kind.VIDEO else 0.0


def tells_of_damage(line: str, task: EncodeTask) -> bool:
    """Whether a line of FFmpeg's says that something of what a task reads is damaged, or changes its format.

    Source: FFmpeg's ``fftools/ffmpeg_dec.c``, ``ffmpeg_demux.c``, ``ffmpeg_filter.c`` and
    ``libavcodec/hevc/hevcdec.c``, in the words of their warnings and errors.
    """
    corrupt = re.search(r"corrupt input packet in stream (\d+)", line)
    return (
        "[dec:" in line
        or "Avoiding reinit; dropping frame" in line
        or _DAMAGED_HEVC.search(line) is not None
        or (corrupt is not None and int(corrupt[1]) in {read_range.stream for read_range in task.reads})
    )


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


def still(scratch: Path, place: int) -> Path:
    """Where a task's command leaves a candidate for the poster; counted as for `sheet`."""
    return scratch / POSTERS.removeprefix(f"{SCRATCH}/").replace("%d", str(place))
