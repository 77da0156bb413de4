"""Run a task's FFmpeg command, which writes its outputs to a scratch folder."""

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
"""SVT-AV1 ignores FFmpeg's log level and logs its settings; at 1 it only logs errors."""

REFUSALS = frozenset({8, 256 - errno.EINVAL})
"""FFmpeg's exit statuses for an invalid command: the last byte of its error number.

8 means an unknown option, filter, encoder or format (``AVERROR_OPTION_NOT_FOUND`` and similar). Faults of a master have
other numbers, such as ``AVERROR_INVALIDDATA`` (183).

Source: FFmpeg's ``libavutil/error.h``.
"""


STALL_S = 300.0
"""How long FFmpeg may make no progress in frames, time or bytes."""
STALL_SHARE = 0.25
"""The same, as a share of the task's expected cost: slow encoders first fill a long look-ahead."""
IDLE_S = 120.0
"""How long FFmpeg may do nothing at all."""
DEADLINE_S, DEADLINE_FACTOR, SLOWEST_BPS = 1800.0, 12.0, 16_000_000
"""A task's deadline is the sum of this constant, this multiple of its expected cost, and the time to read the master at
this rate. It stops endless loops; a busy machine must not reach it."""
MEMORY_FACTOR, LEAST_MEMORY_BYTES = 4, 8 << 30
"""FFmpeg's memory limit, as a multiple of the memory that is reserved for its task, and the minimum of that limit. It
protects against hostile masters."""
FILE_BYTES = 64 << 30
"""Size limit of a file that FFmpeg writes."""
_DAMAGED_HEVC = re.compile(r"^\[hevc @ .*(?:undecodable NALU: (?:[12]?\d|3[01])$|: mismatching checksum of plane)")
"""The HEVC decoder omits invalid slices and outputs pictures with a wrong checksum; it only logs this."""
NO_SPACE = re.compile("No space left on device|Disk quota exceeded|File too large")
FULL = frozenset({256 - errno.ENOSPC, 256 - errno.EDQUOT, 256 - errno.EFBIG, -signal.SIGXFSZ})
"""FFmpeg's exit statuses when the disk is full."""


@dataclass(frozen=True, slots=True)
class Encoded(Finished):
    """The result of a task, with its total cost.

    Attributes:
        loudness: For sound, the measured loudness and the gain of each layout.
        decode_errors: Number of errors that decoders and the demuxer logged about the streams that were read.
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
    """Run a task's command; for sound, measure the loudness first. Text that headend reads itself has no command.

    Args:
        task: The task.
        input_url: The master's path or URL, see `headend.core.storage.masters.opened`.
        scratch: An empty folder.
        cancelled: Returns True once the task must stop.
        on_frames: Called now and then with the number of frames done.
        master_bytes: Size of the master, since a task may have to read all of it.
        source_progress: Returns a number that changes while the master is read or waited for.
        on_error_line: Called with each line of FFmpeg's standard error.

    Returns:
        The result. Renditions are at `output`, sheets of thumbnails at `sheet`, cues of text at `encoder.text.output`.

    Raises:
        ToolFailed: FFmpeg is missing, failed or made no progress.
        WorkerUnfit: The scratch folder is full.
        CommandRefused: FFmpeg rejects the command.
        Cancelled: ``cancelled`` returned True.
    """
    errors = 0

    def count_errors(line: str) -> None:
        nonlocal errors
        errors += tells_of_damage(line, task)
        on_error_line(line)

    counters: dict[str, int] = {}

    def read_progress(line: str) -> None:
        name, _, value = line.partition("=")
        if name in ("frame", "out_time_us", "total_size") and value.strip().isdigit():
            counters[name] = int(value)
            if name == "frame":
                on_frames(int(value))

    def progress() -> tuple[int, ...]:
        return (*counters.values(), _bytes_in(scratch), source_progress())

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

    def run_command(argv: Sequence[str], placeholders: Mapping[str, str]) -> Finished:
        whole = {PROGRAM: tool.ffmpeg_path(), MASTER: input_url, SIDECAR: str(sidecar_path(scratch))}
        filled = [whole[word] if word in whole else fill(word, placeholders) for word in argv]
        try:
            return run(
                filled,
                cancelled=cancelled,
                on_line=read_progress,
                on_error_line=count_errors,
                watch=watch,
                environment=QUIET,
                limits=limits,
            )
        except ToolFailed as error:
            # The evidence must not contain the master's secret URL: show the planned command, with placeholders.
            facts = {**error.facts, "argv": list(argv), "stderr": redact(error.facts.get("stderr", ""))}
            if error.facts.get("status") in FULL or NO_SPACE.search(error.facts.get("stderr", "")):
                raise no_space(scratch, _share_done(task, counters.get("frame", 0)), **facts) from None
            refused = error.facts.get("status") in REFUSALS
            raise (CommandRefused if refused else ToolFailed)(redact(error.message), **facts) from None

    placeholders = {SCRATCH: str(scratch)}
    if not task.argv:
        return Encoded(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    if task.kind is Kind.VIDEO:
        first = _first_pass(task, lambda argv: run_command(argv, placeholders))
        errors = 0  # the same frames are decoded again
        encode = run_command(task.argv, placeholders)
        return Encoded(
            cpu_s=first.cpu_s + encode.cpu_s,
            wall_s=first.wall_s + encode.wall_s,
            peak_memory_bytes=max(first.peak_memory_bytes, encode.peak_memory_bytes),
            stderr=encode.stderr,
            decode_errors=errors,
        )
    if task.loudness_target is None:
        encode = run_command(task.argv, placeholders)
        return Encoded(encode.cpu_s, encode.wall_s, encode.peak_memory_bytes, encode.stderr, decode_errors=errors)
    measurement = run_command(task.loudness_target.argv, {})
    errors = 0  # the same sound is decoded again
    decided = loudness.levels(task.loudness_target, redact(measurement.stderr))
    encode = run_command(task.argv, {**placeholders, **loudness.words(task.loudness_target, decided)})
    return Encoded(
        cpu_s=measurement.cpu_s + encode.cpu_s,
        wall_s=measurement.wall_s + encode.wall_s,
        peak_memory_bytes=max(measurement.peak_memory_bytes, encode.peak_memory_bytes),
        stderr=encode.stderr,
        loudness=decided,
        decode_errors=errors,
    )


def _first_pass(task: EncodeTask, run_command: Callable[[Sequence[str]], Finished]) -> Finished:
    """Run the first pass of two-pass encoders, if there are any."""
    argv = reencoding.first_pass(task.argv)
    return run_command(argv) if argv else Finished(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")


def no_space(scratch: Path, share_done: float = 0.0, **facts: object) -> WorkerUnfit:
    """The error for a full scratch folder.

    Args:
        scratch: The task's folder.
        share_done: Share of the task that was done, 0 to 1.
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
    """Replace placeholders in a word of a command."""
    for placeholder, text in placeholders.items():
        word = word.replace(placeholder, text)
    return word


def output(scratch: Path, rendition: str) -> Path:
    """The file to which a task's command writes a rendition."""
    return scratch / f"{rendition}.mp4"


def sheet(scratch: Path, place: int) -> Path:
    """The file of a sheet of thumbnails; counted from 1 in each task, since number 0 is discarded."""
    return scratch / SHEETS.removeprefix(f"{SCRATCH}/").replace("%d", str(place))


def still(scratch: Path, place: int) -> Path:
    """The file of a candidate for the poster; counted as for `sheet`."""
    return scratch / POSTERS.removeprefix(f"{SCRATCH}/").replace("%d", str(place))
