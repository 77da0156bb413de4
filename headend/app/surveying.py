"""Carrying out an analysis task on a worker: survey a chunk, or encode an excerpt in several ways and score it.

A task writes its result to the store under a digest of all its inputs. So the same task of a later run, or of another
title of the same master, is answered from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encoder import cluster, damage, encoding, measuring, sandbox, surveying, tool
from encoder.command import REFERENCE_FILE, SCRATCH
from encoder.trials import max_concurrent_measurements
from headend.app import task_master
from headend.core import documents, layout
from headend.core.errors import ChunkRejected
from headend.core.media import EncodeTask, Master
from headend.core.media.analysis import Complexity, SurveyTask, TrialScore, TrialTask
from headend.core.settings import StoreSettings
from headend.core.storage import masters, open_store
from headend.core.timing import ceil_div

_FRAGMENT = frozenset({b"moof", b"mdat"})


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What all tasks of an analysis have in common.

    Attributes:
        store: Where results go.
        title: Catalogue entry, for messages.
        master: The master to read.
        tool: FFmpeg's version line, for people.
        tool_digest: SHA-256 of the FFmpeg program; workers with another one refuse the task.
        allow_damaged: Whether damage in the master is concealed instead of failing the task.
    """

    store: StoreSettings
    title: str
    master: Master
    tool: str
    tool_digest: str
    allow_damaged: bool = False


def perform(inquiry: Inquiry, run: cluster.TaskRun) -> Complexity | tuple[TrialScore, ...]:
    """Carry out a task of an analysis.

    Returns:
        The result, which is also in the store.

    Raises:
        HeadendError: The task failed.
    """
    tool.check(inquiry.tool, inquiry.tool_digest)
    store = open_store(inquiry.store, cancelled=run.cancelled, on_wait=run.on_wait)
    task: SurveyTask | TrialTask = run.task
    with task_master.opened(inquiry.master, inquiry.store, run) as (scratch, source):
        detections = surveying.Detections()
        finished = encoding.encode(
            task.work,
            input_url=source.url,
            scratch=scratch,
            cancelled=run.cancelled,
            on_frames=run.on_frames,
            master_bytes=inquiry.master.size_bytes,
            source_progress=source.progress,
            on_error_line=detections.add_line,
        )
        if finished.decode_errors and not inquiry.allow_damaged:
            _refuse_damage(inquiry, task.work, source, run)
        if isinstance(task, SurveyTask):
            try:
                complexity = surveying.complexity(
                    task.work.chunk,
                    surveying.packets_file(scratch).read_text(),
                    detections,
                    gop_frames=task.gop_frames,
                    frames_per_s=task.frames_per_s,
                    cpu_s=finished.cpu_s,
                )
            except ChunkRejected:
                _refuse_damage(inquiry, task.work, source, run)
                raise
            store.put(layout.survey(inquiry.master.digest, task.id), documents.write(complexity))
            return complexity
        scores = scored(task, scratch, finished.cpu_s, run.cancelled)
    for key, score in zip(task.keys, scores, strict=True):
        store.put(layout.trial(inquiry.master.digest, key), documents.write(score))
    return scores


def scored(
    task: TrialTask, scratch: Path, encode_cpu_s: float, cancelled: Callable[[], bool] = lambda: False
) -> tuple[TrialScore, ...]:
    """Score a task's encoded files against the master.

    Args:
        task: The task.
        scratch: The folder with its files.
        encode_cpu_s: CPU seconds of encoding.
        cancelled: Returns true once the task is cancelled.
    """
    reference = Path(encoding.fill(REFERENCE_FILE, {SCRATCH: str(scratch)}))
    frames = ceil_div(task.work.chunk.frame_count, task.rate_divisor)
    paths = [encoding.output(scratch, trial.id) for trial in task.trials]
    vmaf: list[Sequence[float]] = []
    measure_cpu_s = 0.0
    concurrent = max_concurrent_measurements(task.shown_px)
    for first in range(0, len(paths), concurrent):
        shown = [
            measuring.Shown(measuring.file_picture(path), *size_px, task.bit_depth)
            for path, size_px in zip(
                paths[first : first + concurrent], task.sizes_px[first : first + concurrent], strict=True
            )
        ]
        measured = measuring.measure(
            replace(measuring.file_picture(reference), step=task.rate_divisor),
            shown,
            task.viewing,
            frames,
            shown_px=task.shown_px,
            every=task.every,
            cancelled=cancelled,
        )
        vmaf += measured.scores
        measure_cpu_s += measured.cpu_s
    each_cpu_s = (encode_cpu_s + measure_cpu_s) / len(paths)
    return tuple(
        TrialScore(
            excerpt=task.work.chunk.number,
            trial=trial,
            size_bytes=_fragment_bytes(path),
            vmaf=sum(frame_scores) / len(frame_scores),
            vmaf_p5=sorted(frame_scores)[len(frame_scores) // 20],
            cpu_s=each_cpu_s,
        )
        for trial, path, frame_scores in zip(task.trials, paths, vmaf, strict=True)
    )


def _refuse_damage(inquiry: Inquiry, work: EncodeTask, source: masters.Source, run: cluster.TaskRun) -> None:
    places = sandbox.scan_damage(
        inquiry.master, source.url, work.reads, progress=source.progress, cancelled=run.cancelled
    )
    if places:
        raise damage.damage_error(inquiry.title, inquiry.master, places)


def _fragment_bytes(path: Path) -> int:
    """Return the size of a file's fragments, which is what players download."""
    total, at = 0, 0
    with path.open("rb") as file:
        while len(header := file.read(16)) >= 8:
            size = int.from_bytes(header[:4])
            if size == 1 and len(header) == 16:
                size = int.from_bytes(header[8:])
            if size < 8:
                raise ChunkRejected(f"{path.name}: a box has an invalid size of {size} bytes")
            total += size if header[4:8] in _FRAGMENT else 0
            at += size
            file.seek(at)
    return total
