"""What a worker does with a task: encode it, cut it, put the segments into the store, and write the receipt last."""

import errno
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import cluster, damage, encoding, sandbox, text, tool
from encoder.subtitles import sidecars
from headend import capping, documents, layout
from headend.errors import ChunkRejected, PlanMismatch, ToolFailed
from headend.media import (
    Codec,
    Damage,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    Kind,
    Loudness,
    Master,
    Receipt,
    Sheet,
    TextRendition,
)
from headend.settings import StoreSettings
from headend.storage import Store, masters, open_store, patiently
from headend.timing import Chunk, Grid
from packager import captions, segmenting

LEAST_PATIENCE_S = 60.0
"""How long a master in S3 is waited for at least, when it can't be reached."""
UPLOADS = 4
"""Segments of a task that are written to the store at once: hides the latency of S3."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker must know beside its task; small, since it goes with every one.

    Attributes:
        store: Where segments go.
        title: Catalogue entry.
        release: Its id.
        master: The file.
        tool: FFmpeg's version line; no other may encode.
        grid: Where segments lie.
        divisors: Of how many frames a rendition takes one, by its id, where not every one.
        vp9_levels: Levels of VP9 renditions by their ids.
        sample_rate_hz: Of all sound.
        frame_samples: Samples in a codec frame of each audio rendition, by its id.
        text: Text renditions.
        allow_damaged: Whether damage in the master is put on record, instead of failing the task.
    """

    store: StoreSettings
    title: str
    release: str
    master: Master
    tool: str
    grid: Grid
    divisors: Mapping[str, int]
    vp9_levels: Mapping[str, str]
    sample_rate_hz: int
    frame_samples: Mapping[str, int]
    text: tuple[TextRendition, ...]
    allow_damaged: bool = False


def order_of(plan: EncodePlan, store: StoreSettings) -> Order:
    """Tell workers what a plan's tasks have in common."""
    return Order(
        store=store,
        title=plan.title,
        release=plan.release,
        master=plan.master,
        tool=plan.tool,
        grid=plan.grid,
        divisors={r.id: r.rate_divisor for r in (*plan.video, *plan.trick) if r.rate_divisor > 1},
        vp9_levels={r.id: r.level for r in (*plan.video, *plan.trick) if r.codec is Codec.VP9},
        sample_rate_hz=plan.audio[0].sample_rate_hz if plan.audio else 0,
        frame_samples={r.id: r.frame_samples for r in plan.audio},
        text=plan.text,
        allow_damaged=plan.allow_damaged,
    )


def perform(order: Order, run: cluster.TaskRun) -> Receipt:
    """Carry out a task.

    Args:
        order: What all tasks of the plan share.
        run: The task, and how it is watched.

    Returns:
        The receipt, which is in the store already.

    Raises:
        HeadendError: Whatever went wrong; what has been stored so far is written again by the next attempt.
    """
    started = time.monotonic()
    tool.check_version(order.tool)
    store = open_store(order.store, cancelled=run.cancelled, on_wait=run.on_wait)
    patience_s = max(LEAST_PATIENCE_S, order.store.patience_s)
    patiently(
        lambda: masters.check_unchanged(order.master, order.store.endpoint_url), patience_s, run.cancelled, run.on_wait
    )
    found: tuple[Damage, ...] = ()
    with (
        TemporaryDirectory(prefix="headend-", dir=run.folder) as folder,
        masters.opened(order.master, order.store.endpoint_url, patience_s=patience_s) as source,
    ):
        scratch = Path(folder)
        try:
            patiently(lambda: _lay_sidecar(order, run.task, scratch), patience_s, run.cancelled, run.on_wait)
            finished = encoding.encode(
                run.task,
                input_url=source.url,
                scratch=scratch,
                cancelled=run.cancelled,
                on_frames=run.on_frames,
                master_bytes=order.master.size_bytes,
                source_progress=source.progress,
            )
            # Where frames are made up for, one that did not come out shows by nothing else.
            if finished.decode_errors or order.allow_damaged:
                found = _damage(order, run, source)
            held = _hold(order, run, source, scratch)
            finished = held.in_all(finished)
            run.on_encoded()
            tracks = tuple(held.noted(t) for t in _keep(order, run.task, finished.loudness, scratch, store))
            sheets = tuple(_keep_sheets(order, run.task, scratch, store))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise encoding.no_space(scratch) from error
            raise
        except (ChunkRejected, ToolFailed) as error:
            if (failure := source.failure()) is not None:  # FFmpeg only saw that the master ended early
                raise failure from None
            # It may be the master's fault; then trying again is no use.
            found = found or _damage(order, run, source)
            if found and isinstance(error, ChunkRejected):
                raise damage.refusal(order.title, order.master, found, allowed=True) from None
            if isinstance(error, ChunkRejected) and "://" not in order.master.url:
                # A local file is read the same way at every attempt.
                raise PlanMismatch(error.message, **error.facts) from None
            raise
    receipt = Receipt(
        task=run.task.id,
        tracks=tracks,
        attempt=run.attempt,
        worker=run.worker,
        cpu_s=finished.cpu_s,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=finished.peak_memory_bytes,
        sheets=sheets,
        decode_errors=finished.decode_errors,
        damage=found,
    )
    store.put(layout.receipt(order.title, order.release, run.task.id), documents.write(receipt))
    return receipt


def _hold(order: Order, run: cluster.TaskRun, source: masters.Source, scratch: Path) -> capping.Held:
    """Keep the renditions of a task of video below their caps."""
    if run.task.kind is not Kind.VIDEO:
        return capping.Held()

    def encode(task: EncodeTask, folder: Path) -> encoding.Encoded:
        return encoding.encode(
            task,
            input_url=source.url,
            scratch=folder,
            cancelled=run.cancelled,
            # All frames have been told of; what is encoded again is a sign of life.
            on_frames=lambda _: run.on_frames(run.task.chunk.frame_count),
            master_bytes=order.master.size_bytes,
            source_progress=source.progress,
        )

    def measure(rendition: str, chunk: Chunk, data: memoryview) -> EncodedTrack:
        return _cut(order, replace(run.task, chunk=chunk), rendition, None, data).track

    return capping.hold(run.task, scratch, order.grid, order.divisors, encode=encode, measure=measure)


def _damage(order: Order, run: cluster.TaskRun, source: masters.Source) -> tuple[Damage, ...]:
    """What is damaged of that which a task reads; where that is not allowed, an error."""
    if not run.task.reads:
        return ()
    found = sandbox.look_through(
        order.master, source.url, run.task.reads, progress=source.progress, cancelled=run.cancelled
    )
    if found and not order.allow_damaged:
        raise damage.refusal(order.title, order.master, found)
    return found


def _keep(
    order: Order, task: EncodeTask, decided: Sequence[Loudness], scratch: Path, store: Store
) -> Iterator[EncodedTrack]:
    cuts = _cut_text(order, task, scratch) if task.kind is Kind.TEXT else _cut_all(order, task, decided, scratch)
    with ThreadPoolExecutor(UPLOADS) as pool:
        # So many at a time, and no more read: a chunk may be a whole film, and more than fits into memory.
        under_way: set[Future[None]] = set()
        for cut in cuts:
            rendition = cut.track.rendition
            if task.chunk.number == 0 and cut.init:
                store.put(layout.init(order.title, order.release, rendition), cut.init)
            numbers = [part.number for part in cut.track.segments]
            keys = (layout.segment(order.title, order.release, rendition, number) for number in numbers)
            for key, body in zip(keys, cut.bodies, strict=True):
                if len(under_way) == UPLOADS:
                    ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for upload in ended:
                        upload.result()
                under_way.add(pool.submit(store.put, key, body))
            yield cut.track
        for upload in under_way:
            upload.result()


def _keep_sheets(order: Order, task: EncodeTask, scratch: Path, store: Store) -> Iterator[Sheet]:
    made = len({*scratch.glob(f"*{layout.SHEET_SUFFIX}")} - {encoding.sheet(scratch, 0)})
    if made != len(task.sheets):
        raise ChunkRejected(
            f"{made} sheets of thumbnails came out of chunk {task.chunk.number}, not {len(task.sheets)}"
        )
    for place, number in enumerate(task.sheets, start=1):
        data = encoding.sheet(scratch, place).read_bytes()
        store.put(layout.sheet(order.title, order.release, number), data)
        yield Sheet(number, len(data), hashlib.sha256(data).hexdigest())


def _lay_sidecar(order: Order, task: EncodeTask, scratch: Path) -> None:
    """Put a sidecar where the task's command, or the task itself, reads it."""
    for track in task.text:
        if track.sidecar is not None:
            data = sidecars.read(track.sidecar, order.store.endpoint_url)
            text.sidecar_path(scratch).write_bytes(sidecars.prepared(data, track.codec, track.sidecar.url))


def _cut_text(order: Order, task: EncodeTask, scratch: Path) -> Iterator[segmenting.Cut]:
    for track in task.text:
        cues, document = text.read(track, scratch, start_s=task.start_s, duration_s=order.grid.duration_s)
        for rendition in order.text:
            if rendition.programme == track.number:
                yield captions.cut(rendition, cues, document, order.grid)


def _cut_all(order: Order, task: EncodeTask, decided: Sequence[Loudness], scratch: Path) -> Iterator[segmenting.Cut]:
    by_layout = {one.layout: one for one in decided}
    layouts = task.levelling.layouts if task.levelling else ()
    loudness = {id: by_layout[layout] for id, layout in zip(task.renditions, layouts, strict=False)}
    for rendition in task.renditions:
        path = encoding.output(scratch, rendition)
        if not path.exists() or not path.stat().st_size:
            raise ChunkRejected(f"{rendition}: the encoder wrote nothing")
        with path.open("rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        path.unlink()
        yield _cut(order, task, rendition, loudness.get(rendition), memoryview(data))


def _cut(order: Order, task: EncodeTask, rendition: str, loudness: Loudness | None, data: memoryview) -> segmenting.Cut:
    if task.kind is Kind.AUDIO:
        return segmenting.cut_audio(
            data,
            rendition=rendition,
            grid=order.grid,
            sample_rate_hz=order.sample_rate_hz,
            frame_samples=order.frame_samples[rendition],
            loudness=loudness,
        )
    return segmenting.cut_video(
        data,
        rendition=rendition,
        grid=order.grid,
        chunk=task.chunk,
        rate_divisor=order.divisors.get(rendition, 1),
        vp9_level=order.vp9_levels.get(rendition),
    )
