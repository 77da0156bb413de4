"""Carrying out a task on a worker: encode, cut into segments, store them, and write the receipt last.

If the store can't be reached, the worker keeps the encoded files and waits: nothing is encoded twice for that. During
a long upload it writes receipts for the tracks that are complete, so that a worker that is killed loses little.
"""

import errno
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from encoder import cluster, damage, encoding, sandbox, text, tool
from encoder.subtitles import sidecars
from headend.app import capping, task_master
from headend.app.quality import flooring, scoring
from headend.app.storing import Seals, TrackWriter, cut_rendition
from headend.app.task_context import TaskContext, context_of
from headend.app.task_log import TaskLog
from headend.core import documents, layout, records
from headend.core.errors import ChunkRejected, ConfigError, ObjectMissing, PlanMismatch, ToolFailed, WorkerUnfit
from headend.core.keys import ContentKey
from headend.core.media import (
    Damage,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    KeyName,
    Kind,
    Receipt,
)
from headend.core.media.quality import Measurement, MeasureTask
from headend.core.records import Attempt
from headend.core.settings import StoreSettings
from headend.core.storage import Store, masters, open_store, with_retries
from headend.core.timing import Chunk
from packager import encrypted_tracks

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
    with log.following() if context.logged else nullcontext():
        receipt = _carry_out(context, run, store)
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


def _carry_out(context: TaskContext, run: cluster.TaskRun, store: Store) -> Receipt | Measurement:
    started = time.monotonic()
    tool.check(context.tool, context.tool_digest)
    patience_s = task_master.patience_s(context.store)
    if isinstance(run.task, MeasureTask):
        used = (subject.keys.names for subject in run.task.subjects if subject.keys is not None)
        names = {name.kid: name for subject_names in used for name in subject_names}
        keys = with_retries(lambda: _open_keys(context, names), patience_s, run.cancelled, run.on_wait)
        return scoring.score(run, store, context.store, context.master, context.grid, keys)
    # Keys come first: without them the encode would be wasted.
    seals = with_retries(lambda: _seals(context, run.task), patience_s, run.cancelled, run.on_wait)
    places: tuple[Damage, ...] = ()
    with task_master.opened(context.master, context.store, run) as (scratch, source):
        try:
            with_retries(lambda: _place_sidecar(context, run.task, scratch), patience_s, run.cancelled, run.on_wait)
            _place_captions(context, run, source, scratch)
            finished = encoding.encode(
                run.task,
                input_url=source.url,
                scratch=scratch,
                cancelled=run.cancelled,
                on_frames=run.on_frames,
                master_bytes=context.master.size_bytes,
                source_progress=source.progress,
            )
            # Missing frames are filled in if damage is allowed, so the output alone doesn't show that one is missing.
            if finished.decode_errors or context.allow_damaged:
                places = _damage(context, run, source)
            capped = _cap(context, run, source, scratch, run.task)
            finished = capped.total(finished)
            measurements, finished, capped = _raise_to_floor(context, run, source, scratch, finished, capped)
            run.on_encoded()

            def receipt_of(tracks: Sequence[EncodedTrack]) -> Receipt:
                return Receipt(
                    task=run.task.id,
                    chunk=run.task.chunk.number,
                    tracks=tuple(tracks),
                    attempt=run.attempt,
                    worker=run.worker,
                    cpu_s=finished.cpu_s,
                    wall_s=time.monotonic() - started,
                    peak_memory_bytes=finished.peak_memory_bytes,
                    decode_errors=finished.decode_errors,
                    damage=places,
                    submission=context.submission,
                )

            writer = TrackWriter(context, store, seals)
            for measurement in measurements:
                store.put(layout.measurement(context.title, measurement.task), documents.write(measurement))
            tracks: list[EncodedTrack] = []
            written = time.monotonic()
            for track in writer.write(run.task, finished.loudness, scratch):
                tracks.append(capped.annotated(track))
                if time.monotonic() - written >= RECEIPT_EVERY_S:
                    store.put(layout.receipt(context.title, run.task.id), documents.write(receipt_of(tracks)))
                    written = time.monotonic()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise encoding.no_space_error(scratch) from error
            raise
        except (ChunkRejected, ToolFailed) as error:
            if (failure := source.failure()) is not None:  # FFmpeg saw only an early end of the master
                raise failure from None
            # If the master is damaged, retrying is useless.
            places = places or _damage(context, run, source)
            if places and isinstance(error, ChunkRejected):
                raise damage.damage_error(context.title, context.master, places, allowed=True) from None
            if isinstance(error, ChunkRejected) and "://" not in context.master.url:
                # A local file gives the same result at every attempt.
                raise PlanMismatch(error.message, **error.facts) from None
            raise
    receipt = receipt_of(tracks)
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
    started = time.monotonic()
    context, store = context_of(plan, settings), open_store(settings)
    _place_sidecar(context, task, scratch)
    finished = encoding.encode(task, input_url="", scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None)
    receipt = Receipt(
        task=task.id,
        chunk=task.chunk.number,
        tracks=tuple(TrackWriter(context, store).write(task, (), scratch)),
        attempt=1,
        worker="",
        cpu_s=finished.cpu_s,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=finished.peak_memory_bytes,
    )
    store.put(layout.receipt(context.title, task.id), documents.write(receipt))
    return receipt


def _cap(
    context: TaskContext, run: cluster.TaskRun, source: masters.Source, scratch: Path, task: EncodeTask
) -> capping.Capped:
    """Encode segments of a video task again until all are below their caps."""
    if task.kind is not Kind.VIDEO:
        return capping.Capped()
    return capping.cap(
        task,
        scratch,
        context.grid,
        context.divisors,
        encode=partial(_encode_again, context, run, source),
        measure=partial(_describe, context, task),
    )


def _encode_again(
    context: TaskContext, run: cluster.TaskRun, source: masters.Source, task: EncodeTask, folder: Path
) -> encoding.Encoded:
    """Encode a part of the task once more."""
    return encoding.encode(
        task,
        input_url=source.url,
        scratch=folder,
        cancelled=run.cancelled,
        # All frames have been reported already; reporting them again shows that the task is alive.
        on_frames=lambda _: run.on_frames(run.task.chunk.frame_count),
        master_bytes=context.master.size_bytes,
        source_progress=source.progress,
    )


def _describe(context: TaskContext, task: EncodeTask, rendition: str, chunk: Chunk, data: memoryview) -> EncodedTrack:
    """Describe an encoded file as a part of its rendition."""
    return cut_rendition(context, replace(task, chunk=chunk), rendition, None, data).track


def _raise_to_floor(
    context: TaskContext,
    run: cluster.TaskRun,
    source: masters.Source,
    scratch: Path,
    finished: encoding.Encoded,
    capped: capping.Capped,
) -> tuple[Sequence[Measurement], encoding.Encoded, capping.Capped]:
    """Encode renditions again that fall below the task's quality floor.

    Returns:
        The measurements, the cost of all encodes, and what capping did.
    """
    reencodes: list[tuple[encoding.Encoded, capping.Capped]] = []

    def encode(task: EncodeTask, folder: Path) -> None:
        encoded = _encode_again(context, run, source, task, folder)
        reencodes.append((encoded, _cap(context, run, source, folder, task)))

    def measure(task: MeasureTask, paths: Mapping[str, Path]) -> Measurement:
        started = time.monotonic()
        measured = scoring.compare(
            task, paths, source.url, run.cancelled, lambda _: run.on_frames(run.task.chunk.frame_count)
        )
        wall_s = time.monotonic() - started
        return scoring.found_by(task, measured, context.grid, attempt=run.attempt, worker=run.worker, wall_s=wall_s)

    def at_cap(rendition: str, path: Path) -> frozenset[int]:
        describe = partial(_describe, context, run.task)
        return capping.at_cap(run.task, rendition, path, context.grid, measure=describe, share=flooring.AT_CAP)

    measurements = flooring.lift(run.task, scratch, encode=encode, measure=measure, at_cap=at_cap)
    lifted = {track.track for measurement in measurements for track in measurement.tracks if track.lifts}
    renditions = {rendition for rendition, track in context.tracks.items() if track in lifted}
    for encoded, recapped in reencodes:
        finished = recapped.total(
            replace(finished, cpu_s=finished.cpu_s + encoded.cpu_s, wall_s=finished.wall_s + encoded.wall_s)
        )
        capped = capped.updated(recapped, renditions)
    cpu_s = finished.cpu_s + sum(measurement.cpu_s for measurement in measurements)
    return measurements, replace(finished, cpu_s=cpu_s), capped


def _damage(context: TaskContext, run: cluster.TaskRun, source: masters.Source) -> tuple[Damage, ...]:
    """Find damage in what a task reads; raise if there is some and the title doesn't allow it."""
    if not run.task.reads:
        return ()
    places = sandbox.scan_damage(
        context.master, source.url, run.task.reads, progress=source.progress, cancelled=run.cancelled
    )
    if places and not context.allow_damaged:
        raise damage.damage_error(context.title, context.master, places)
    return places


def _place_sidecar(context: TaskContext, task: EncodeTask, scratch: Path) -> None:
    """Put a sidecar where the task or its command reads it."""
    for track in task.text:
        if track.sidecar is not None:
            data = sidecars.read(track.sidecar, context.store.endpoint_url)
            text.sidecar_path(scratch).write_bytes(sidecars.prepare(data, track.codec, track.sidecar.url))


def _place_captions(context: TaskContext, run: cluster.TaskRun, source: masters.Source, scratch: Path) -> None:
    """Extract captions from the picture to where the task reads them."""
    for track in run.task.text:
        if track.codec == text.PICTURE_CAPTIONS:
            assert track.index is not None
            extracted = sandbox.read_captions(
                context.master, source.url, track.index, progress=source.progress, cancelled=run.cancelled
            )
            text.write_captions(extracted, scratch)


def _seals(context: TaskContext, task: EncodeTask) -> Seals:
    """Open the keys of a task's renditions; nothing is imported for a clear title.

    Raises:
        WorkerUnfit: A key is missing on this worker, or differs from the one that the job was planned with.
        StorageError: The key source can't be reached.
    """
    wanted = {id: context.encrypted[id] for id in task.renditions if id in context.encrypted}
    if not wanted:
        return {}
    from packager.protecting import protection_of

    keys = _open_keys(context, {name.kid: name for pairs in wanted.values() for _, used in pairs for name in used})
    return {
        id: tuple(
            (
                track,
                protection_of(
                    [keys[name.kid] for name in used],
                    kids=context.kids[used[0].scheme],
                    salt=encrypted_tracks.salt_of(track),
                    schedule=context.schedules[used[0].scheme],
                ),
            )
            for track, used in pairs
        )
        for id, pairs in wanted.items()
    }


def _open_keys(context: TaskContext, names: Mapping[str, KeyName]) -> Mapping[str, ContentKey]:
    """Open keys, by their ids; nothing is imported for a clear title.

    Raises:
        WorkerUnfit: A key is missing on this worker, or differs from the one that the job was planned with.
        StorageError: The key source can't be reached.
    """
    if not names:
        return {}
    from headend.app import content_keys

    if context.keys is None:
        raise ConfigError("the task has encrypted tracks, but does not say where keys are: submit the master again")
    try:
        return content_keys.opened(context.keys, context.title, tuple(names.values()))
    except ConfigError as error:  # they could be opened where the job was submitted
        raise WorkerUnfit(f"a worker can't open the keys of {context.title!r}: {error.message}") from None
