"""The way of a master through the house.

master ─probe─▶ Probe ─fit─▶ renditions ─plan─▶ EncodePlan ─encode─▶ Receipt … ─publish─▶ Presentation
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from encoder import (
    cluster,
    conforming,
    cropping,
    damage,
    grouping,
    loudness,
    planning,
    programmes,
    sandbox,
    text,
    tool,
    verifying,
)
from encoder.costs import Calibration, Pricing, measured
from encoder.scheduling import slot_bytes, slot_count
from encoder.subtitles import sidecars
from encoder.timelines import policy as timing
from headend import documents, layout, records
from headend.errors import DamagedMaster, StorageError
from headend.media import (
    Crop,
    EncodePlan,
    EncodeTask,
    Presentation,
    Probe,
    Receipt,
    TextTrack,
)
from headend.performing import order_of, perform
from headend.settings import ClusterSettings, EncodeSettings, PictureChoice, StoreSettings
from headend.storage import Store, check_writable, masters, open_store
from ladders import fitting
from ladders.ladder import Ladder
from packager import conformance, publishing

READ_EVERY_S = 10.0
"""How often it is told how much of a master has been read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Attributes:
        master: A path, or ``s3://bucket/key``.
        title: Catalogue entry.
        ladder: The ladder to fit.
        store: Where the release goes.
        cluster: Where it is encoded.
        encode: How it is encoded.
        publish_early: Whether H.264 and AAC go first, and are published before the rest is there.
    """

    master: str
    title: str
    ladder: Ladder
    store: StoreSettings
    cluster: ClusterSettings
    encode: EncodeSettings
    publish_early: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan stands and the work begins.

    Attributes:
        plan: What will be done.
        reused: Tasks that an earlier run has finished already.
    """

    plan: EncodePlan
    reused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the way has begun; ``name`` is for people."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishedEarly:
    """H.264 and AAC can be played, while the rest is encoded."""

    presentation: Presentation


Event = Step | Planned | PublishedEarly | cluster.Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """A published title.

    Attributes:
        plan: What was decided.
        presentation: What players get.
        reused_tasks: Tasks that an earlier run had finished.
        encoded_tasks: Tasks that this run has finished.
        cpu_s: CPU seconds of this run's encoders.
        predicted_cpu_s: What they were expected to take.
        wall_s: Seconds from the request to the release.
    """

    plan: EncodePlan
    presentation: Presentation
    reused_tasks: int
    encoded_tasks: int
    cpu_s: float
    predicted_cpu_s: float
    wall_s: float


def submit(request: Request, on_event: Callable[[Event], None] = lambda _: None) -> Outcome:
    """Make a playing title of a master.

    A second call with the same request does only what the first one left undone.

    Raises:
        ConfigError: The request is wrong, or the scheduler can't be reached.
        MasterError: The master can't be used, or has changed while it was read.
        EncodingError: A task has failed for good.
        StorageError: The store refused or lost something.
        PackagingError: The parts don't make a release.
    """
    started = time.monotonic()
    layout.check_title(request.title)
    check_writable(open_store(replace(request.store, patience_s=0.0)))  # a wrong address is told at once
    store = open_store(request.store, on_wait=lambda line: on_event(cluster.Notice(line)))
    on_event(Step("reading the master"))
    probe = inspect(request.master, request.store, on_event, request.encode.picture)
    known = calibration(store)
    plan = settle(store, plan_for(request, probe, known))
    first = planning.first_release(plan) if request.publish_early else None
    finished = done(store, plan)
    todo = [task for task in plan.tasks if task.id not in finished]
    for line in plan.decisions:
        if line.startswith(grouping.MEMORY):
            on_event(cluster.Notice(line))
    on_event(Planned(plan, tuple(finished)))
    receipts = encode(plan, todo, first, request, store, on_event)
    on_event(Step("publishing"))
    presentation = publishing.publish(store, plan)
    if receipts and not finished:  # a plan that was taken up was made from what was known then
        with suppress(StorageError):  # it is no part of the job
            store.put(layout.CALIBRATION, documents.write(known.learned(plan, receipts)))
    return Outcome(
        plan=plan,
        presentation=presentation,
        reused_tasks=len(finished),
        encoded_tasks=len(todo),
        cpu_s=sum(receipt.cpu_s for receipt in receipts),
        predicted_cpu_s=sum(task.cost for task in todo),
        wall_s=time.monotonic() - started,
    )


def verify(
    store: Store,
    title: str,
    release: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    deep: bool = False,
) -> conformance.Verdict:
    """Read a release back, and decode a segment of each rendition, or all: see `packager.conformance.verify`."""
    return conformance.verify(store, title, release, on_progress, look=verifying.differences, deep=deep)


def calibration(store: Store) -> Calibration:
    """By how much costs were misjudged in this store; nothing where that is not known or can't be read."""
    try:
        return documents.read(Calibration, store.get(layout.CALIBRATION), key=layout.CALIBRATION)
    except StorageError:
        return Calibration()


def inspect(
    url: str,
    store: StoreSettings,
    on_event: Callable[[Event], None] = lambda _: None,
    choice: PictureChoice = PictureChoice(),  # noqa: B008  # frozen
) -> Probe:
    """Identify and probe a master; of an object in S3 only what tells about it is read."""
    telling = _Telling(on_event)
    master = masters.identify(url, store.endpoint_url, on_progress=partial(telling.tell, "computing the digest of"))
    with masters.opened(master, store.endpoint_url) as source:

        def on_read(read_bytes: int) -> None:
            telling.tell("reading", max(read_bytes, source.progress()), master.size_bytes)

        return sandbox.probe(master, source.url, choice, progress=source.progress, on_read=on_read)


class _Telling:
    """Says now and then how much of a master has been read."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._told_s = time.monotonic()

    def tell(self, what: str, done_bytes: int, total_bytes: int) -> None:
        if time.monotonic() - self._told_s >= READ_EVERY_S:
            self._told_s = time.monotonic()
            # Some parts may be read twice.
            share = min(0.99, done_bytes / total_bytes)
            self._on_event(Step(f"{what} the master: {share:.0%} of {total_bytes / 1e9:,.1f} GB"))


def plan_for(request: Request, probe: Probe, known: Calibration | None = None) -> EncodePlan:
    """Fit the ladder and plan every task; nothing is written."""
    missing = damage.holes(probe, planning.usable(probe))
    if missing and not request.encode.allow_damaged:
        raise damage.refusal(request.title, probe.master, missing)
    probe, conformed, fitted = fit(request.ladder, request.encode, request.store, probe)
    workers = cluster.workers_of(request.cluster)
    written, told_of_text = text_of(request, probe, conformed)
    return planning.plan(
        request.title,
        probe,
        conformed,
        ladder=request.ladder.name,
        video=fitted.video,
        audio=fitted.audio,
        decisions=(
            *fitted.decisions,
            *told_of_text,
            *damage.tell(missing, allowed=request.encode.allow_damaged),
            *grouping.tell_memory(
                fitted.video,
                Pricing(known.applied(measured()) if known else measured(), conformed, request.encode.effort),
                chunk_s=request.encode.chunk_s,
                slot_bytes=slot_bytes(workers),
            ),
        ),
        settings=request.encode,
        tool=tool.version(),
        workers=slot_count(workers),
        slot_bytes=slot_bytes(workers),
        early=request.publish_early,
        costs=known.applied(measured()) if known else None,
        text=written,
        missing=missing,
    )


def fit(
    ladder: Ladder, encode: EncodeSettings, store: StoreSettings, probe: Probe
) -> tuple[Probe, conforming.Conformed, fitting.Fitted]:
    """Decide what is delivered of a master, and which renditions it becomes.

    Returns:
        The probe, whose programmes are those that are delivered; the picture on the grid; and the ladder for both.

    Raises:
        ConfigError: What was asked for is not in the master.
        MasterError: The master can't be used.
    """
    conformed = conform(encode, store, probe)
    probe, heard = programmes_of(encode, probe, conformed)
    fitted = fitting.fit(ladder, replace(probe, video=conformed.kept), frame_rate=conformed.frame_rate)
    return probe, conformed, replace(fitted, decisions=(*fitted.decisions, *heard))


def programmes_of(
    encode: EncodeSettings, probe: Probe, conformed: conforming.Conformed
) -> tuple[Probe, tuple[str, ...]]:
    """Settle which sound is delivered; the probe's programmes are then these."""
    chosen = programmes.choose(probe.audio, encode.audio)
    duration_s = conformed.frame_count / conformed.frame_rate
    start_s = conformed.track.start_s
    if not encode.allow_damaged:
        timing.check(probe.master, chosen, start_s=start_s, most_s=encode.most_sound_gap_s)
    told = (
        *programmes.tell_picture(probe),
        *programmes.tell(chosen, probe.audio, start_s=start_s, duration_s=duration_s),
        *timing.tell(chosen, start_s=start_s),
    )
    level = [loudness.tell(encode.loudness_lufs)] if chosen else []
    return replace(probe, audio=chosen), (*told, *level)


def text_of(
    request: Request, probe: Probe, conformed: conforming.Conformed
) -> tuple[tuple[TextTrack, ...], tuple[str, ...]]:
    """Settle which text is delivered; sidecars are read and checked."""
    choices, offset = request.encode.text, request.encode.subtitle_offset
    duration_s = conformed.frame_count / conformed.frame_rate
    beside = {
        choice.source: sidecars.aligned(sidecars.look(choice.source, request.store.endpoint_url), offset, duration_s)
        for choice in choices
        if choice.is_sidecar
    }
    chosen = text.choose(probe, choices, beside, request.encode.embedded_text)
    return chosen, tuple(text.tell(chosen, probe, beside.values(), duration_s))


def conform(encode: EncodeSettings, store: StoreSettings, probe: Probe) -> conforming.Conformed:
    """Decide how the master's frames make the grid's; samples are decoded only where there may be fields or bars."""
    master, track = probe.master, planning.usable(probe)
    if damage.holes(probe, track):
        track = damage.without_holes(track)
    fields = None
    if conforming.worth_a_look(track):
        with masters.opened(master, store.endpoint_url) as source:
            fields = conforming.look(track, source.url)
    conformed = conforming.conform(track, fields, encode.limits)

    def look_for_bars(area: Crop) -> cropping.Sighting:
        with masters.opened(master, store.endpoint_url) as source:
            return sandbox.look_for_bars(cropping.sampling(master, track, area), source.url, progress=source.progress)

    crop, decisions = cropping.crop(track, encode.crop, look_for_bars)
    return replace(conformed, crop=crop, decisions=(*conformed.decisions, *decisions), mended=encode.allow_damaged)


def settle(store: Store, plan: EncodePlan) -> EncodePlan:
    """Write the plan, or take up the one that an earlier run of the same release has written.

    How renditions are grouped into tasks may differ between runs with other workers; a release has one grouping.
    """
    key = layout.plan(plan.title, plan.release)
    if store.put_if_absent(key, documents.write(plan)):
        return plan
    return replace(documents.read(EncodePlan, store.get(key), key=key), master=plan.master)


def done(store: Store, plan: EncodePlan) -> frozenset[str]:
    """The tasks of a plan that have a receipt and all that it names, at full size.

    Digests are not compared here: `packager.conformance.verify` reads everything again when asked to.
    """
    prefix = f"{layout.release_path(plan.title, plan.release)}/"
    sizes = {info.key: info.size_bytes for info in store.list(prefix)}
    receipts = publishing.read_receipts(store, plan, sizes).values()
    return frozenset(
        receipt.task for receipt in receipts if all(sizes.get(key) == size for key, size in _objects(plan, receipt))
    )


def _objects(plan: EncodePlan, receipt: Receipt) -> Iterator[tuple[str, int]]:
    for sheet in receipt.sheets:
        yield layout.sheet(plan.title, plan.release, sheet.number), sheet.size_bytes
    for track in receipt.tracks:
        for part in track.segments:
            yield layout.segment(plan.title, plan.release, track.rendition, part.number), part.size_bytes
        if track.init_bytes and track.segments[0].number == 1:
            yield layout.init(plan.title, plan.release, track.rendition), track.init_bytes


def encode(
    plan: EncodePlan,
    tasks: Sequence[EncodeTask],
    first: EncodePlan | None,
    request: Request,
    store: Store,
    on_event: Callable[[Event], None],
) -> list[Receipt]:
    """Run tasks on the cluster, with failed attempts on record; publish what can be played first when it is there."""
    receipts: list[Receipt] = []
    todo = {task.id for task in tasks}
    before = {task.id for task in first.tasks} & todo if first else set()

    def publish_first() -> None:
        if first and not before and todo:  # once all is there, the whole follows at once
            on_event(PublishedEarly(publishing.publish_part(store, plan, first)))

    def note(event: cluster.Event) -> None:
        if isinstance(event, cluster.Done):
            receipts.append(event.receipt)
            todo.remove(event.receipt.task)
            if event.receipt.task in before:
                before.remove(event.receipt.task)
                publish_first()
        if isinstance(event, cluster.Failed):
            try:
                records.write_attempt(
                    store, plan.title, plan.release, records.attempt_of(event.task, event.attempt, event.error)
                )
            except StorageError as error:  # a job must not end of it
                on_event(cluster.Notice(f"a failed attempt is not on record: {error.message}"))
        on_event(event)

    if not before:
        publish_first()
    try:
        cluster.run_tasks(tasks, partial(perform, order_of(plan, request.store)), request.cluster, note, tool=plan.tool)
    except DamagedMaster:
        if plan.allow_damaged:
            raise
        on_event(Step("looking through the whole master for damage"))
        with masters.opened(plan.master, request.store.endpoint_url) as source:
            found = sandbox.look_through(plan.master, source.url, damage.whole(plan.tasks), progress=source.progress)
        if found:
            raise damage.refusal(plan.title, plan.master, found) from None
        raise
    return receipts
