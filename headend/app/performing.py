"""What a worker does with a task: encode it, cut it, put the segments into the store, and write the receipt last.

A store that is away is waited for with the encoded files at hand; nothing is encoded anew for that. A long upload
leaves a receipt now and then for the tracks that are complete, so that a worker that is killed loses little.
"""

import errno
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path

from encoder import cluster, damage, encoding, sandbox, text, tool
from encoder.subtitles import sidecars
from headend.app import capping, task_master
from headend.app.quality import flooring, scoring
from headend.app.task_log import TaskLog
from headend.core import documents, layout, records
from headend.core.codecs import AUDIO
from headend.core.errors import ChunkRejected, ConfigError, ObjectMissing, PlanMismatch, ToolFailed, WorkerUnfit
from headend.core.keys import ContentKey
from headend.core.media import (
    Codec,
    Damage,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    KeyName,
    Kind,
    Loudness,
    Master,
    Receipt,
    Schedule,
    Segment,
    TextRendition,
    Thumbnails,
)
from headend.core.media.quality import Measurement, MeasureTask
from headend.core.records import Attempt
from headend.core.settings import KeySettings, StoreSettings
from headend.core.storage import Store, masters, open_store, patiently
from headend.core.timing import Chunk, Grid, timescale
from packager import captions, sealing, segmenting

_FRAME_SAMPLES = {one.codec: one.frame_samples for one in AUDIO}
UPLOADS = 4
"""Segments of a task that are written to the store at once: hides the latency of S3."""


RECEIPT_EVERY_S = 10.0
"""How often a receipt is written while segments are stored."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker must know beside its task; small, since it goes with every one.

    Attributes:
        store: Where segments go.
        title: Catalogue entry.
        master: The file.
        tool: FFmpeg's version line, for people.
        tool_digest: SHA-256 of FFmpeg's program; no other may encode.
        grid: Where segments lie.
        tracks: The track that each rendition is in the store, by its id.
        divisors: Ids of renditions that keep one frame in N, with N.
        vp9_levels: Levels of VP9 renditions by their ids.
        sample_rate_hz: Of all sound.
        frame_samples: Samples in a codec frame of each audio rendition, by its id.
        text: Text renditions.
        thumbnails: How they are laid.
        allow_damaged: Whether damage in the master is put on record, instead of failing the task.
        logged: Whether workers log their tasks.
        submission: Random. A run that is repeated takes up a receipt of the same one; empty for none.
        sealed: For each encrypted rendition, by its id: the tracks that it becomes, and the keys of each, one for each
            period.
        kids: Ids of all keys that init segments list, by scheme.
        schedules: When encryption begins and keys change, by scheme.
        keys: Where keys come from; None for a clear title.
    """

    store: StoreSettings
    title: str
    master: Master
    tool: str
    tool_digest: str
    grid: Grid
    tracks: Mapping[str, str]
    divisors: Mapping[str, int]
    vp9_levels: Mapping[str, str]
    sample_rate_hz: int
    frame_samples: Mapping[str, int]
    text: tuple[TextRendition, ...]
    thumbnails: Thumbnails | None = None
    allow_damaged: bool = False
    logged: bool = False
    submission: str = ""
    sealed: Mapping[str, tuple[tuple[str, tuple[KeyName, ...]], ...]] = field(default_factory=dict)
    kids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    keys: KeySettings | None = None


def order_of(
    plan: EncodePlan,
    store: StoreSettings,
    keys: KeySettings | None = None,
    *,
    logged: bool = False,
    submission: str = "",
) -> Order:
    """Tell workers what a plan's tasks have in common."""
    sealed: dict[str, tuple[tuple[str, tuple[KeyName, ...]], ...]] = {}
    protections = {protection.scheme: protection for protection in plan.protection}
    for name, one in plan.sealings.items():
        pair = plan.tracks[name], tuple(map(protections[one.scheme].name, one.kids))
        sealed[one.rendition] = (*sealed.get(one.rendition, ()), pair)
    return Order(
        store=store,
        title=plan.title,
        master=plan.master,
        tool=plan.tool,
        tool_digest=plan.tool_digest,
        grid=plan.grid,
        tracks=plan.tracks,
        divisors={r.id: r.rate_divisor for r in (*plan.video, *plan.trick) if r.rate_divisor > 1},
        vp9_levels={r.id: r.level for r in (*plan.video, *plan.trick) if r.codec is Codec.VP9},
        sample_rate_hz=plan.audio[0].sample_rate_hz if plan.audio else 0,
        frame_samples={r.id: _FRAME_SAMPLES[r.codec] for r in plan.audio},
        text=plan.text,
        thumbnails=plan.thumbnails,
        allow_damaged=plan.allow_damaged,
        logged=logged,
        submission=submission,
        sealed=sealed,
        kids={scheme: sealing.kids_of(plan.title, protection) for scheme, protection in protections.items()},
        schedules={scheme: protection.schedule for scheme, protection in protections.items()},
        keys=keys,
    )


def perform(order: Order, run: cluster.TaskRun) -> Receipt | Measurement:
    """Carry out a task, of encoding or of measuring.

    Args:
        order: What all tasks of the plan share.
        run: The task, and how it is watched.

    Returns:
        The receipt, or what was measured; it is in the store already.

    Raises:
        HeadendError: Whatever went wrong; what has been stored so far is written again by the next attempt.
    """
    store = open_store(order.store, cancelled=run.cancelled, on_wait=run.on_wait)
    if (made := _made_before(order, run.task, store)) is not None:
        return made
    if run.name:
        begun = Attempt(run.task.id, run.attempt, run.worker, datetime.now(UTC).isoformat(timespec="milliseconds"), "")
        records.begin(store, order.title, run.name, begun)
    log = TaskLog(order.title, run.task, run.attempt, run.worker)
    with log.following() if order.logged else nullcontext():
        receipt = _perform(order, run, store)
    if order.logged:
        log.done(receipt)
    if run.name:
        records.end(store, order.title, run.name)
    return receipt


def _made_before(order: Order, task: EncodeTask | MeasureTask, store: Store) -> Receipt | None:
    """The receipt of an earlier run whose end got lost: the worker or the scheduler was killed just then."""
    if not order.submission or isinstance(task, MeasureTask):
        return None
    key = layout.receipt(order.title, task.id)
    try:
        receipt = documents.read(Receipt, store.get(key), key=key)
    except ObjectMissing:
        return None
    whole = {(track.rendition, receipt.chunk) for track in receipt.tracks} >= set(task.parts)
    return receipt if whole and receipt.submission == order.submission else None


def _perform(order: Order, run: cluster.TaskRun, store: Store) -> Receipt | Measurement:
    started = time.monotonic()
    tool.check(order.tool, order.tool_digest)
    patience_s = task_master.patience_s(order.store)
    if isinstance(run.task, MeasureTask):
        used = (subject.keys.names for subject in run.task.subjects if subject.keys is not None)
        names = {name.kid: name for one in used for name in one}
        keys = patiently(lambda: _opened(order, names), patience_s, run.cancelled, run.on_wait)
        return scoring.score(run, store, order.store, order.master, order.grid, keys)
    # Before anything is encoded: without its keys the task's work would be lost.
    seals = patiently(lambda: _seals(order, run.task), patience_s, run.cancelled, run.on_wait)
    found: tuple[Damage, ...] = ()
    with task_master.opened(order.master, order.store, run) as (scratch, source):
        try:
            patiently(lambda: _lay_sidecar(order, run.task, scratch), patience_s, run.cancelled, run.on_wait)
            _lay_captions(order, run, source, scratch)
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
            held = _hold(order, run, source, scratch, run.task)
            finished = held.in_all(finished)
            looks, finished, held = _lift(order, run, source, scratch, finished, held)
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
                    damage=found,
                    submission=order.submission,
                )

            keeper = _Keeper(order, store, seals)
            for found_quality in looks:
                store.put(layout.measurement(order.title, found_quality.task), documents.write(found_quality))
            tracks: list[EncodedTrack] = []
            written = time.monotonic()
            for track in keeper.keep(run.task, finished.loudness, scratch):
                tracks.append(held.noted(track))
                if time.monotonic() - written >= RECEIPT_EVERY_S:
                    store.put(layout.receipt(order.title, run.task.id), documents.write(receipt_of(tracks)))
                    written = time.monotonic()
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
    receipt = receipt_of(tracks)
    store.put(layout.receipt(order.title, run.task.id), documents.write(receipt))
    return receipt


def make_text(plan: EncodePlan, task: EncodeTask, settings: StoreSettings, scratch: Path) -> Receipt:
    """Carry out a task that reads a file of text, in this process and without a master.

    Args:
        plan: What the title gets.
        task: The task.
        settings: The store.
        scratch: An empty folder.

    Returns:
        The receipt, which is in the store already.

    Raises:
        HeadendError: Whatever went wrong.
    """
    started = time.monotonic()
    order, store = order_of(plan, settings), open_store(settings)
    _lay_sidecar(order, task, scratch)
    finished = encoding.encode(task, input_url="", scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None)
    receipt = Receipt(
        task=task.id,
        chunk=task.chunk.number,
        tracks=tuple(_Keeper(order, store).keep(task, (), scratch)),
        attempt=1,
        worker="",
        cpu_s=finished.cpu_s,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=finished.peak_memory_bytes,
    )
    store.put(layout.receipt(order.title, task.id), documents.write(receipt))
    return receipt


def _hold(order: Order, run: cluster.TaskRun, source: masters.Source, scratch: Path, task: EncodeTask) -> capping.Held:
    """Keep the renditions of a task of video below their caps."""
    if task.kind is not Kind.VIDEO:
        return capping.Held()
    return capping.hold(
        task,
        scratch,
        order.grid,
        order.divisors,
        encode=partial(_encode_again, order, run, source),
        measure=partial(_described, order, task),
    )


def _encode_again(
    order: Order, run: cluster.TaskRun, source: masters.Source, task: EncodeTask, folder: Path
) -> encoding.Encoded:
    """Encode something that was encoded before."""
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


def _described(order: Order, task: EncodeTask, rendition: str, chunk: Chunk, data: memoryview) -> EncodedTrack:
    """What an encoder's file is, as part of a rendition."""
    return _cut(order, replace(task, chunk=chunk), rendition, None, data).track


def _lift(
    order: Order,
    run: cluster.TaskRun,
    source: masters.Source,
    scratch: Path,
    finished: encoding.Encoded,
    held: capping.Held,
) -> tuple[Sequence[Measurement], encoding.Encoded, capping.Held]:
    """Keep the renditions of a task above its floor.

    Returns:
        How they look; what all that was done has cost; what it took to keep them below their caps.
    """
    again: list[tuple[encoding.Encoded, capping.Held]] = []

    def encode(task: EncodeTask, folder: Path) -> None:
        made = _encode_again(order, run, source, task, folder)
        again.append((made, _hold(order, run, source, folder, task)))

    def measure(task: MeasureTask, paths: Mapping[str, Path]) -> Measurement:
        started = time.monotonic()
        measured = scoring.compare(
            task, paths, source.url, run.cancelled, lambda _: run.on_frames(run.task.chunk.frame_count)
        )
        wall_s = time.monotonic() - started
        return scoring.found_by(task, measured, order.grid, attempt=run.attempt, worker=run.worker, wall_s=wall_s)

    def at_cap(rendition: str, path: Path) -> frozenset[int]:
        describe = partial(_described, order, run.task)
        return capping.at_cap(run.task, rendition, path, order.grid, measure=describe, share=flooring.AT_CAP)

    looks = flooring.lift(run.task, scratch, encode=encode, measure=measure, at_cap=at_cap)
    lifted = {lift.track for look in looks for lift in look.tracks if lift.lifts}
    renditions = {rendition for rendition, track in order.tracks.items() if track in lifted}
    for made, once_more in again:
        finished = once_more.in_all(
            replace(finished, cpu_s=finished.cpu_s + made.cpu_s, wall_s=finished.wall_s + made.wall_s)
        )
        held = held.replaced(once_more, renditions)
    return looks, replace(finished, cpu_s=finished.cpu_s + sum(look.cpu_s for look in looks)), held


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


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Puts what a task has made into the store.

    Attributes:
        order: What all tasks of the plan share.
        store: Where segments go.
        seals: How the task's renditions are encrypted; none of a clear title.
    """

    order: Order
    store: Store
    seals: "Seals" = field(default_factory=dict)

    def keep(self, task: EncodeTask, decided: Sequence[Loudness], scratch: Path) -> Iterator[EncodedTrack]:
        """Store a task's tracks; each is told when all of it is in the store."""
        order = self.order
        cuts = (
            _cut_text(order, task, scratch)
            if task.kind is Kind.TEXT
            else _cut_all(order, task, decided, scratch, self.seals)
        )
        pictures = chain(_cut_sheets(order, task, scratch), _cut_stills(task, scratch))
        with ThreadPoolExecutor(UPLOADS) as pool:
            for cut in chain(pictures, cuts):
                track = cut.track.track or order.tracks[cut.track.rendition]
                if task.chunk.number == 0 and cut.init:
                    for period, init in enumerate((cut.init, *cut.later_inits), start=1):
                        self.store.put(layout.track_init(order.title, track, period), init)
                # So many at a time, and no more read: a chunk may be a whole film, and more than fits into memory.
                under_way: set[Future[None]] = set()
                numbers = [part.number for part in cut.track.segments]
                keys = (layout.track_segment(order.title, track, number) for number in numbers)
                for key, body in zip(keys, cut.bodies, strict=True):
                    if len(under_way) == UPLOADS:
                        ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        for upload in ended:
                            upload.result()
                    under_way.add(pool.submit(self.store.put, key, body))
                for upload in under_way:
                    upload.result()
                yield replace(cut.track, track=track)


def _cut_sheets(order: Order, task: EncodeTask, scratch: Path) -> Iterator[segmenting.Cut]:
    """The sheets of thumbnails, as segments of their track."""
    laid = order.thumbnails
    if not task.sheets or laid is None:
        return
    made = len({*scratch.glob(f"{layout.THUMBNAILS}-*{layout.SHEET_SUFFIX}")} - {encoding.sheet(scratch, 0)})
    if made != len(task.sheets):
        raise ChunkRejected(
            f"{made} sheets of thumbnails came out of chunk {task.chunk.number}, not {len(task.sheets)}"
        )
    ticks = timescale(order.grid.frame_rate)

    def duration_ticks(number: int) -> int:
        frames = min(number * laid.sheet_frames, order.grid.frame_count) - (number - 1) * laid.sheet_frames
        return frames * ticks.frame_ticks

    starts = {number: (number - 1) * laid.sheet_frames * ticks.frame_ticks for number in task.sheets}
    paths = {number: encoding.sheet(scratch, place) for place, number in enumerate(task.sheets, start=1)}
    yield _pictures(laid.id, paths, {n: (starts[n], duration_ticks(n)) for n in paths}, ticks.ticks_per_second)


def _cut_stills(task: EncodeTask, scratch: Path) -> Iterator[segmenting.Cut]:
    """The candidates for the poster, as segments of their track; they have no time of their own."""
    if not task.posters:
        return
    paths = {number: encoding.still(scratch, place) for place, number in enumerate(task.posters, start=1)}
    if missing := [number for number, path in paths.items() if not path.exists()]:
        raise ChunkRejected(f"candidate {missing[0]} for the poster did not come out of chunk {task.chunk.number}")
    yield _pictures(layout.POSTER, paths, {number: (number - 1, 1) for number in paths}, 1)


def _pictures(
    rendition: str, paths: Mapping[int, Path], times: Mapping[int, tuple[int, int]], ticks_per_second: int
) -> segmenting.Cut:
    bodies = {number: path.read_bytes() for number, path in paths.items()}
    segments = [
        Segment(number, *times[number], 1, len(body), hashlib.sha256(body).hexdigest())
        for number, body in bodies.items()
    ]
    return segmenting.joined(rendition, b"", list(bodies.values()), segments, ticks_per_second, priming_samples=0)


def _lay_sidecar(order: Order, task: EncodeTask, scratch: Path) -> None:
    """Put a sidecar where the task's command, or the task itself, reads it."""
    for track in task.text:
        if track.sidecar is not None:
            data = sidecars.read(track.sidecar, order.store.endpoint_url)
            text.sidecar_path(scratch).write_bytes(sidecars.prepared(data, track.codec, track.sidecar.url))


def _lay_captions(order: Order, run: cluster.TaskRun, source: masters.Source, scratch: Path) -> None:
    """Read the captions in the picture, where the task's command finds them."""
    for track in run.task.text:
        if track.codec == text.PICTURE_CAPTIONS:
            assert track.index is not None
            found = sandbox.read_captions(
                order.master, source.url, track.index, progress=source.progress, cancelled=run.cancelled
            )
            text.lay_captions(found, scratch)


def _cut_text(order: Order, task: EncodeTask, scratch: Path) -> Iterator[segmenting.Cut]:
    for track in task.text:
        cues, document = text.read(track, scratch, start_s=task.start_s, duration_s=order.grid.duration_s)
        for rendition in order.text:
            if rendition.programme == track.number and rendition.id in task.renditions:
                yield captions.cut(rendition, cues, document, order.grid)


def _seals(order: Order, task: EncodeTask) -> "Seals":
    """Open the keys of a task's renditions; a clear title needs none, and loads nothing for it.

    Raises:
        WorkerUnfit: A key is missing here, or is not the one that the job was planned with.
        StorageError: The source of keys can't be reached.
    """
    wanted = {id: order.sealed[id] for id in task.renditions if id in order.sealed}
    if not wanted:
        return {}
    from packager.protecting import protection_of

    keys = _opened(order, {name.kid: name for pairs in wanted.values() for _, used in pairs for name in used})
    return {
        id: tuple(
            (
                track,
                protection_of(
                    [keys[name.kid] for name in used],
                    kids=order.kids[used[0].scheme],
                    salt=sealing.salt_of(track),
                    schedule=order.schedules[used[0].scheme],
                ),
            )
            for track, used in pairs
        )
        for id, pairs in wanted.items()
    }


def _opened(order: Order, names: Mapping[str, KeyName]) -> Mapping[str, ContentKey]:
    """Open keys by their ids; a clear title needs none, and loads nothing for it.

    Raises:
        WorkerUnfit: A key is missing here, or is not the one that the job was planned with.
        StorageError: The source of keys can't be reached.
    """
    if not names:
        return {}
    from headend.app import content_keys

    if order.keys is None:
        raise ConfigError("the task has encrypted tracks, but does not say where keys are: submit the master again")
    try:
        return content_keys.opened(order.keys, order.title, tuple(names.values()))
    except ConfigError as error:  # the job has opened them where it was submitted
        raise WorkerUnfit(f"a worker can't open the keys of {order.title!r}: {error.message}") from None


Seals = Mapping[str, tuple[tuple[str, segmenting.Protect], ...]]
"""For each encrypted rendition: the tracks that it becomes, and how each is encrypted."""


def _cut_all(
    order: Order, task: EncodeTask, decided: Sequence[Loudness], scratch: Path, seals: Seals
) -> Iterator[segmenting.Cut]:
    by_layout = {one.layout: one for one in decided}
    layouts = task.loudness_target.layouts if task.loudness_target else ()
    loudness = {id: by_layout[layout] for id, layout in zip(task.renditions, layouts, strict=False)}
    for rendition in task.renditions:
        path = encoding.output(scratch, rendition)
        if not path.exists() or not path.stat().st_size:
            raise ChunkRejected(f"{rendition}: the encoder wrote nothing")
        with path.open("rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        path.unlink()
        for track, protect in seals.get(rendition, (("", segmenting.Clear),)):
            cut = _cut(order, task, rendition, loudness.get(rendition), memoryview(data), protect)
            yield replace(cut, track=replace(cut.track, track=track))


def _cut(
    order: Order,
    task: EncodeTask,
    rendition: str,
    loudness: Loudness | None,
    data: memoryview,
    protect: segmenting.Protect = segmenting.Clear,
) -> segmenting.Cut:
    if task.kind is Kind.AUDIO:
        return segmenting.cut_audio(
            data,
            rendition=rendition,
            grid=order.grid,
            sample_rate_hz=order.sample_rate_hz,
            frame_samples=order.frame_samples[rendition],
            loudness=loudness,
            protect=protect,
        )
    return segmenting.cut_video(
        data,
        rendition=rendition,
        grid=order.grid,
        chunk=task.chunk,
        rate_divisor=order.divisors.get(rendition, 1),
        vp9_level=order.vp9_levels.get(rendition),
        protect=protect,
    )
