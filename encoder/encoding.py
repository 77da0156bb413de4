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
from headend.core.media import EncodeTask, Kind, Loudness, LoudnessTarget
from headend.core.process import Finished, Watch, run
from headend.core.storage.masters import redact

QUIET = {"SVT_LOG": "1"}
"""SVT-AV1 ignores FFmpeg's log level and logs its settings; at this level, it only logs errors."""

INVALID_COMMAND_STATUSES = frozenset({8, 256 - errno.EINVAL})
"""FFmpeg's exit statuses for an invalid command: the last byte of FFmpeg's error number.

8 means an unknown option, filter, encoder or format (``AVERROR_OPTION_NOT_FOUND`` and similar). Errors in a master have
other numbers, such as ``AVERROR_INVALIDDATA`` (183).

Source: FFmpeg's ``libavutil/error.h``.
"""

STALL_S = 300.0
"""How long FFmpeg may make no progress in frames, time or bytes."""
STALL_SHARE = 0.25
"""The same as a share of the task's expected cost, if that is longer: slow encoders first fill a long look-ahead."""
IDLE_S = 120.0
"""How long FFmpeg may do nothing at all."""
DEADLINE_S, DEADLINE_FACTOR, MIN_READ_BPS = 1800.0, 12.0, 16_000_000
"""A task's deadline is the sum of this constant, this multiple of its expected cost, and the time to read the master at
this rate. It stops endless loops; a busy machine must not reach it."""
MEMORY_FACTOR, MIN_MEMORY_LIMIT_BYTES = 4, 8 << 30
"""FFmpeg's memory limit, as a multiple of the memory that is reserved for its task, and the minimum of that limit. It
protects against hostile masters."""
MAX_FILE_BYTES = 64 << 30
"""Size limit of a file that FFmpeg writes."""
_DAMAGED_HEVC = re.compile(r"^\[hevc @ .*(?:undecodable NALU: (?:[12]?\d|3[01])$|: mismatching checksum of plane)")
"""What the HEVC decoder logs when it skips an invalid slice or outputs a picture with a wrong checksum."""
_DISK_FULL = re.compile("No space left on device|Disk quota exceeded|File too large")
DISK_FULL_STATUSES = frozenset({256 - errno.ENOSPC, 256 - errno.EDQUOT, 256 - errno.EFBIG, -signal.SIGXFSZ})
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
    """Run a task's command; for sound, measure the loudness first. Text that needs no FFmpeg has no command.

    Args:
        task: The task.
        input_url: The master's path or URL, see `headend.core.storage.masters.opened`.
        scratch: An empty folder.
        cancelled: Returns True once the task must stop.
        on_frames: Called about twice a second with the number of frames done.
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
    if not task.argv:
        return Encoded(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    runner = _CommandRunner(
        task, input_url, scratch, cancelled, on_frames, master_bytes, source_progress, on_error_line
    )
    if task.kind is Kind.VIDEO:
        return _encode_picture(task, runner)
    if task.loudness_target is not None:
        return _encode_sound(task, task.loudness_target, runner)
    finished = runner.run(task.argv)
    return Encoded(
        finished.cpu_s, finished.wall_s, finished.peak_memory_bytes, finished.stderr, decode_errors=runner.decode_errors
    )


def _encode_picture(task: EncodeTask, runner: "_CommandRunner") -> Encoded:
    """Run the first pass of two-pass encoders, if there are any, then the task's command."""
    first_pass = reencoding.first_pass(task.argv)
    first = runner.run(first_pass) if first_pass else Finished(cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0, stderr="")
    runner.decode_errors = 0  # the same frames are decoded again
    finished = runner.run(task.argv)
    return Encoded(
        cpu_s=first.cpu_s + finished.cpu_s,
        wall_s=first.wall_s + finished.wall_s,
        peak_memory_bytes=max(first.peak_memory_bytes, finished.peak_memory_bytes),
        stderr=finished.stderr,
        decode_errors=runner.decode_errors,
    )


def _encode_sound(task: EncodeTask, target: LoudnessTarget, runner: "_CommandRunner") -> Encoded:
    """Measure the loudness, then run the task's command with the gains that follow from it."""
    measurement = runner.run(target.argv)
    runner.decode_errors = 0  # the same sound is decoded again
    levels = loudness.levels(target, redact(measurement.stderr))
    finished = runner.run(task.argv, loudness.values(target, levels))
    return Encoded(
        cpu_s=measurement.cpu_s + finished.cpu_s,
        wall_s=measurement.wall_s + finished.wall_s,
        peak_memory_bytes=max(measurement.peak_memory_bytes, finished.peak_memory_bytes),
        stderr=finished.stderr,
        loudness=levels,
        decode_errors=runner.decode_errors,
    )


class _CommandRunner:
    """Runs the commands of a task, follows their progress and counts errors; arguments as for `encode`.

    Attributes:
        decode_errors: Number of errors that decoders and the demuxer have logged.
    """

    def __init__(
        self,
        task: EncodeTask,
        input_url: str,
        scratch: Path,
        cancelled: Callable[[], bool],
        on_frames: Callable[[int], None],
        master_bytes: int,
        source_progress: Callable[[], int],
        on_error_line: Callable[[str], None],
    ) -> None:
        self._task = task
        self._scratch = scratch
        self._words = {PROGRAM: tool.ffmpeg_path(), MASTER: input_url, SIDECAR: str(sidecar_path(scratch))}
        self._cancelled = cancelled
        self._on_frames = on_frames
        self._source_progress = source_progress
        self._on_error_line = on_error_line
        self._watch = Watch(
            stall_s=max(STALL_S, STALL_SHARE * task.cost),
            idle_s=IDLE_S,
            progress=self._progress,
            deadline_s=DEADLINE_S + DEADLINE_FACTOR * task.cost + master_bytes * 8 / MIN_READ_BPS,
        )
        self._counters: dict[str, int] = {}
        """FFmpeg's latest counts of frames, time and bytes."""
        self.decode_errors = 0

    def run(self, argv: Sequence[str], placeholders: Mapping[str, str] | None = None) -> Finished:
        """Run a command; ``placeholders`` are replaced in addition to those of the program, the input and the folder.

        Raises:
            ToolFailed, WorkerUnfit, CommandRefused, Cancelled: As for `encode`.
        """
        values = {SCRATCH: str(self._scratch), **(placeholders or {})}
        try:
            return run(
                [self._words[word] if word in self._words else fill(word, values) for word in argv],
                cancelled=self._cancelled,
                on_line=self._read_progress,
                on_error_line=self._read_error,
                watch=self._watch,
                environment=QUIET,
                limits={
                    "DATA": max(MIN_MEMORY_LIMIT_BYTES, MEMORY_FACTOR * self._task.memory_bytes),
                    "FSIZE": MAX_FILE_BYTES,
                },
            )
        except ToolFailed as error:
            stderr, status = error.facts.get("stderr", ""), error.facts.get("status")
            # The evidence must not contain the master's secret URL: show the planned command, with placeholders.
            facts = {**error.facts, "argv": list(argv), "stderr": redact(stderr)}
            if status in DISK_FULL_STATUSES or _DISK_FULL.search(stderr):
                raise no_space_error(self._scratch, self._share_done(), **facts) from None
            kind = CommandRefused if status in INVALID_COMMAND_STATUSES else ToolFailed
            raise kind(redact(error.message), **facts) from None

    def _progress(self) -> tuple[int, ...]:
        return (*self._counters.values(), _bytes_in(self._scratch), self._source_progress())

    def _read_progress(self, line: str) -> None:
        name, _, value = line.partition("=")
        if name in ("frame", "out_time_us", "total_size") and value.strip().isdigit():
            self._counters[name] = int(value)
            if name == "frame":
                self._on_frames(int(value))

    def _read_error(self, line: str) -> None:
        self.decode_errors += reports_damage(line, self._task)
        self._on_error_line(line)

    def _share_done(self) -> float:
        """Share of the task that is done; 0 if unknown."""
        if self._task.kind is not Kind.VIDEO:
            return 0.0
        return min(1.0, self._counters.get("frame", 0) / self._task.chunk.frame_count)


def no_space_error(scratch: Path, share_done: float = 0.0, **facts: object) -> WorkerUnfit:
    """Return the error for a full scratch folder.

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


def reports_damage(line: str, task: EncodeTask) -> bool:
    """Whether a line of FFmpeg's standard error says that a stream of the task is damaged, or changes its format.

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


def sheet(scratch: Path, number: int) -> Path:
    """The file of a sheet of thumbnails; counted from 1 in each task, since number 0 is discarded."""
    return scratch / SHEETS.removeprefix(f"{SCRATCH}/").replace("%d", str(number))


def still(scratch: Path, number: int) -> Path:
    """The file of a candidate for the poster; counted as for `sheet`."""
    return scratch / POSTERS.removeprefix(f"{SCRATCH}/").replace("%d", str(number))
