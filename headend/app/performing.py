"""Carrying out a task on a worker: encode, cut into segments, store them, and write the receipt last.

If the store can't be reached, the worker keeps the encoded files and waits: nothing is encoded twice for that. During
a long upload it writes receipts for the tracks that are complete, so that a worker that is killed loses little.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from encoder import cluster, encoding, tool
from headend.app import task_keys, task_master
from headend.app.encode_run import EncodeRun, Files, place_sidecar
from headend.app.quality import scoring
from headend.app.storing import TrackWriter
from headend.app.task_context import TaskContext, context_of
from headend.app.task_log import TaskLog
from headend.core import documents, layout, records
from headend.core.errors import ObjectMissing
from headend.core.media import EncodedTrack, EncodePlan, EncodeTask, Receipt
from headend.core.media.quality import Measurement, MeasureTask
from headend.core.records import Attempt
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store, with_retries

RECEIPT_EVERY_S = 10.0
"""Interval between receipts while segments are stored."""


def perform(context: TaskContext, run: cluster.TaskRun) -> Receipt | Measurement:
    """Carry out a task of encoding or measuring.

    Args:
        context: What all tasks of the plan have in common.
        run: The task, and its callbacks.

    Returns:
        The receipt or the measurement, which is also in the store.

    Raises:
        HeadendError: The task failed. The next attempt overwrites what this one has stored.
    """
    store = open_store(context.store, cancelled=run.cancelled, on_wait=run.on_wait)
    if (earlier := _earlier_receipt(context, run.task, store)) is not None:
        return earlier
    if run.name:
        begun = Attempt(run.task.id, run.attempt, run.worker, datetime.now(UTC).isoformat(timespec="milliseconds"), "")
        records.begin(store, context.title, run.name, begun)
    log = TaskLog(context.title, run.task, run.attempt, run.worker)
    with log.running() if context.logged else nullcontext():
        tool.check(context.tool, context.tool_digest)
        carry_out = _measure if isinstance(run.task, MeasureTask) else _encode
        receipt = carry_out(context, run, store)
    if context.logged:
        log.done(receipt)
    if run.name:
        records.end(store, context.title, run.name)
    return receipt


def _earlier_receipt(context: TaskContext, task: EncodeTask | MeasureTask, store: Store) -> Receipt | None:
    """Return the receipt of an earlier run whose result got lost because the worker or the scheduler was killed."""
    if not context.submission or isinstance(task, MeasureTask):
        return None
    key = layout.receipt(context.title, task.id)
    try:
        receipt = documents.read(Receipt, store.get(key), key=key)
    except ObjectMissing:
        return None
    whole = {(track.rendition, receipt.chunk) for track in receipt.tracks} >= set(task.parts)
    return receipt if whole and receipt.submission == context.submission else None


def _measure(context: TaskContext, run: cluster.TaskRun, store: Store) -> Measurement:
    wait_s = task_master.patience_s(context.store)
    keys = with_retries(lambda: task_keys.keys_of(context, run.task), wait_s, run.cancelled, run.on_wait)
    return scoring.score(run, store, context.store, context.master, context.grid, keys)


def _encode(context: TaskContext, run: cluster.TaskRun, store: Store) -> Receipt:
    started_s = time.monotonic()
    wait_s = task_master.patience_s(context.store)
    # Keys come first: without them the encode would be wasted.
    seals = with_retries(lambda: task_keys.seals_of(context, run.task), wait_s, run.cancelled, run.on_wait)
    with task_master.opened(context.master, context.store, run) as (scratch, source):
        encode_run = EncodeRun(context, run, source, scratch)
        with encode_run.explained_errors():
            with_retries(lambda: place_sidecar(context, run.task, scratch), wait_s, run.cancelled, run.on_wait)
            files = encode_run.make_files()
            for measurement in files.measurements:
                store.put(layout.measurement(context.title, measurement.task), documents.write(measurement))
            tracks: list[EncodedTrack] = []
            written = time.monotonic()
            for track in TrackWriter(context, store, seals).write(run.task, files.encoded.loudness, scratch):
                tracks.append(files.capped.annotated(track))
                if time.monotonic() - written >= RECEIPT_EVERY_S:
                    _write_receipt(context, run, store, files, tracks, started_s)
                    written = time.monotonic()
    return _write_receipt(context, run, store, files, tracks, started_s)


def _write_receipt(
    context: TaskContext,
    run: cluster.TaskRun,
    store: Store,
    files: Files,
    tracks: Sequence[EncodedTrack],
    started: float,
) -> Receipt:
    """Write the receipt for the tracks that are complete."""
    receipt = Receipt(
        task=run.task.id,
        chunk=run.task.chunk.number,
        tracks=tuple(tracks),
        attempt=run.attempt,
        worker=run.worker,
        cpu_s=files.encoded.cpu_s,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=files.encoded.peak_memory_bytes,
        decode_errors=files.encoded.decode_errors,
        damage=files.damage,
        submission=context.submission,
    )
    store.put(layout.receipt(context.title, run.task.id), documents.write(receipt))
    return receipt


def make_text(plan: EncodePlan, task: EncodeTask, settings: StoreSettings, scratch: Path) -> Receipt:
    """Carry out a task that reads a sidecar, in this process and without a master.

    Args:
        plan: The plan that the task belongs to.
        task: The task.
        settings: The store.
        scratch: An empty folder.

    Returns:
        The receipt, which is also in the store.

    Raises:
        HeadendError: The task failed.
    """
    started_s = time.monotonic()
    context, store = context_of(plan, settings), open_store(settings)
    place_sidecar(context, task, scratch)
    finished = encoding.encode(task, input_url="", scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None)
    receipt = Receipt(
        task=task.id,
        chunk=task.chunk.number,
        tracks=tuple(TrackWriter(context, store).write(task, (), scratch)),
        attempt=1,
        worker="",
        cpu_s=finished.cpu_s,
        wall_s=time.monotonic() - started_s,
        peak_memory_bytes=finished.peak_memory_bytes,
    )
    store.put(layout.receipt(context.title, task.id), documents.write(receipt))
    return receipt
