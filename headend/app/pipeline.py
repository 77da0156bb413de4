"""The way of a master through the house.

master ─probe─▶ Probe ─fit─▶ renditions ─draft─▶ tracks ─take─▶ what is missing ─plan─▶ tasks ─encode─▶ Receipt …
─fold─▶ indexes ─present─▶ Presentation ─publish─▶ release
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from encoder import (
    cluster,
    conforming,
    cropping,
    damage,
    grouping,
    loudness,
    measuring,
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
from headend.app import analysis, checking, comparison
from headend.app.performing import order_of, perform
from headend.core import documents, holds, layout, records
from headend.core.errors import DamagedMaster, StorageError
from headend.core.keys import ContentKey
from headend.core.media import (
    Crop,
    EncodePlan,
    Part,
    Presentation,
    Probe,
    Receipt,
    TextTrack,
    VideoRange,
)
from headend.core.media.quality import (
    DEFAULT_THRESHOLDS,
    Checking,
    Foretold,
    Measurement,
    MeasureTask,
    QualityReport,
    Thresholds,
)
from headend.core.settings import (
    ClusterSettings,
    EncodeSettings,
    KeySettings,
    PictureChoice,
    ProtectionSettings,
    StoreSettings,
    Targets,
)
from headend.core.storage import Store, check_writable, masters, open_store, patiently
from ladders import fitting
from ladders.hull import Spot
from ladders.ladder import Ladder
from packager import conformance, publishing
from packager.presentation import present
from packager.stock import Stock, fold, take, tidy

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
        force: Whether what the store has is encoded anew.
        hold: Whether the release is made but left to a person to publish.
        checking: How much of the title is measured before it is published.
        thresholds: What the best renditions have to reach then.
        targets: What is wanted of a ladder that is fitted to the title; None takes the ladder as it is.
        submitted_at: When it was asked for: UTC, ISO 8601; empty for now. A release of an older request does not take
            the place of one of a newer request.
        protection: How the title is encrypted; None leaves it clear.
    """

    master: str
    title: str
    ladder: Ladder
    store: StoreSettings
    cluster: ClusterSettings
    encode: EncodeSettings
    publish_early: bool = False
    force: bool = False
    hold: bool = False
    checking: Checking = Checking.OFF
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    submitted_at: str = ""
    targets: Targets | None = None
    protection: ProtectionSettings | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan stands and the work begins.

    Attributes:
        plan: What the title is to have, and the tasks that make what is missing.
        reused_parts: How much of it an earlier run has made: chunks of renditions.
        reused_tracks: The renditions that are complete already.
        analysis_cpu_s: CPU seconds of the analysis that the ladder was fitted by.
    """

    plan: EncodePlan
    reused_parts: int = 0
    reused_tracks: tuple[str, ...] = ()
    analysis_cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the way has begun; ``name`` is for people."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishedEarly:
    """H.264 and AAC can be played, while the rest is encoded."""

    presentation: Presentation


Workers = Callable[[], tuple[cluster.Worker, ...]]
"""Tells which workers there are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Quality has been measured further.

    Attributes:
        done: Tasks of measuring that are done.
        tasks: Those that are known so far.
    """

    done: int
    tasks: int


Event = Step | Planned | PublishedEarly | Measured | cluster.Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """A title whose release is in the store.

    Attributes:
        plan: What was decided.
        presentation: What players get.
        is_current: Whether the release is the title's current one.
        newer: The release of a newer request, which is current instead; else empty.
        held: Whether the release waits for somebody to publish it.
        tracks: Renditions, thumbnails and poster in all.
        reused_tracks: Those that an earlier run had finished.
        parts: Chunks of these in all.
        reused_parts: Those that an earlier run had made.
        encoded_tasks: Tasks that this run has finished.
        cpu_s: CPU seconds of this run's encoders.
        predicted_cpu_s: What they were expected to take.
        wall_s: Seconds from the request to the release.
        quality: How the release looks and sounds; None if it was not measured.
    """

    plan: EncodePlan
    presentation: Presentation
    is_current: bool
    newer: str
    held: bool
    tracks: int
    reused_tracks: int
    parts: int
    reused_parts: int
    encoded_tasks: int
    cpu_s: float
    predicted_cpu_s: float
    wall_s: float
    quality: QualityReport | None = None


def submit(
    request: Request,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
    workers: Workers | None = None,
) -> Outcome:
    """Make a playing title of a master.

    Only the tracks that the store does not have yet are encoded: a second call with the same request does what the
    first one left undone, one with more renditions makes these alone.

    Args:
        request: What a person asks for.
        on_event: Told of everything that happens.
        run: Runs tasks; jobs that share a cluster bring their own.
        workers: Tells which workers there are; likewise. None asks the cluster, which must answer.

    Raises:
        ConfigError: The request is wrong, or the scheduler can't be reached.
        MasterError: The master can't be used, or has changed while it was read.
        EncodingError: A task has failed for good.
        StorageError: The store refused or lost something.
        PackagingError: The parts don't make a release.
        QualityRefused: The release is complete, but fails the rules on quality: it is not made current.
    """
    started = time.monotonic()
    submitted_at = request.submitted_at or publishing.now()
    layout.check_title(request.title)
    if workers is None:
        # What may be wrong is tried before anything is made or takes long: the master, the cluster, then the store. Who
        # brings workers has tried it, and waits for what has gone away since.
        masters.check_there(request.master, request.store.endpoint_url)
        cluster.check_reachable(request.cluster)
        check_writable(open_store(replace(request.store, patience_s=0.0)))

    def on_wait(line: str) -> None:
        on_event(cluster.Notice(line))

    store = open_store(request.store, on_wait=on_wait)
    if request.protection is not None:
        from headend.app import content_keys

        content_keys.check(request.protection.keys, request.title)
    publishing.read_pointer(store, request.title)  # the store of an older headend is refused before anything is done
    on_event(Step("reading the master"))
    probe = patiently(
        lambda: inspect(request.master, request.store, on_event, request.encode.picture),
        request.store.patience_s,
        on_wait=on_wait,
    )
    known = calibration(store)
    draft, analysed = fitted_draft(request, probe, store, known, on_event, run, workers)
    if request.protection is not None:
        on_event(Step("asking for content keys"))
        draft.plan = sealed(draft.plan, request.protection, store)
    first = planning.first_release(draft.plan) if request.publish_early else None
    with holds.held(store, request.title, tracks=draft.plan.tracks.values(), reason="submit"):
        stock = Stock(draft.plan) if request.force else take(store, draft.plan)
        reused, done = tuple(stock.indexed), stock.done
        plan = tasks_for(draft, request, frozenset(draft.plan.parts) - done, workers)
        for line in plan.decisions:
            if line.startswith(grouping.MEMORY):
                on_event(cluster.Notice(line))
        on_event(Planned(plan, len(done), reused, analysed.cpu_s if analysed else 0.0))
        records.settle(store, request.title)
        check = check_for(draft, request, store, workers, analysed.analysis if analysed else None)
        job = _Job(request, store, submitted_at, plan, first, stock, on_event, run, check)
        receipts = job.encode()
        if receipts:
            with suppress(StorageError):  # it is no part of the job
                store.put(layout.CALIBRATION, documents.write(known.learned(plan, receipts)))
        presentation = present(plan, fold(store, stock, plan.tracks))
        tidy(store, stock)
        quality = job.judge(presentation)
        on_event(Step("publishing"))
        placed = job.place(presentation)
        records.settle(store, request.title)
    return Outcome(
        plan=plan,
        presentation=placed.presentation,
        is_current=placed.is_current,
        newer=placed.newer,
        held=placed.held,
        tracks=len(plan.tracks),
        reused_tracks=len(reused),
        parts=len(plan.parts),
        reused_parts=len(done),
        encoded_tasks=len(plan.tasks),
        cpu_s=sum(receipt.cpu_s for receipt in receipts),
        predicted_cpu_s=sum(task.cost for task in plan.tasks),
        wall_s=time.monotonic() - started,
        quality=quality,
    )


def check_for(
    draft: planning.Draft,
    request: Request,
    store: Store,
    workers: Workers | None,
    found: analysis.Analysis | None = None,
) -> checking.Check:
    """How the renditions of a draft are measured, and what is known of them; what is needed for that is kept."""
    plan = draft.plan
    level = request.checking
    check = checking.Check(
        store=store,
        title=plan.title,
        measuring=draft.measuring(),
        chunks=plan.chunks,
        settings=request.encode,
        tracks=tuple(plan.tracks[rendition.id] for rendition in plan.video),
        level=level,
        thresholds=request.thresholds,
        slot_bytes=slot_bytes(_workers(request, workers)) if level is not Checking.OFF else None,
        segment_count=plan.grid.segment_count,
        foretold={plan.tracks[id]: one for id, one in foretold(plan, found).items()} if found else {},
        hulls={str(one.codec): tuple(map(_as_foretold, one.hull)) for one in found.codecs} if found else {},
        keys=request.protection.keys if request.protection is not None else None,
    )
    if level is not Checking.OFF:
        measuring.check_model(check.measuring.viewing)
    check.begin(anew=request.force)
    return check


def foretold(plan: EncodePlan, found: analysis.Analysis) -> dict[str, Foretold]:
    """What an analysis has foretold of the SDR renditions of a plan, by their ids."""
    spots = {(one.codec, round(spot.kbps)): spot for one in found.codecs for spot in one.rungs}
    return {
        rendition.id: _as_foretold(spot)
        for rendition in plan.video
        if rendition.video_range is VideoRange.SDR
        and (spot := spots.get((rendition.codec, round(rendition.average_bps / 1000)))) is not None
    }


def _as_foretold(spot: Spot) -> Foretold:
    return Foretold(round(spot.kbps * 1000), round(spot.vmaf, 2))


def verify(
    store: Store,
    title: str,
    release: str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    deep: bool = False,
    endpoint_url: str | None = None,
    keys: KeySettings | None = None,
) -> conformance.Verdict:
    """Read a release back, decode a segment of each rendition, or all, and compare it with its master.

    See `packager.conformance.verify` and `headend.app.comparison.compare`; ``endpoint_url`` is where a master in S3 is,
    and ``keys`` says where the keys of an encrypted release come from.
    """
    release = release or publishing.current_release(store, layout.check_title(title))
    opened: Mapping[str, ContentKey] = {}
    if keys is not None:
        from headend.app import content_keys

        opened = content_keys.of_release(keys, store, title, release)
    is_stopped = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        comparing = beside.submit(
            comparison.compare,
            store,
            title,
            release,
            endpoint_url,
            deep=deep,
            is_stopped=is_stopped.is_set,
            keys=opened,
        )
        try:
            verdict = conformance.verify(
                store, title, release, on_progress, look=verifying.differences, judge=_judged, keys=opened, deep=deep
            )
            compared = comparing.result()
        finally:
            is_stopped.set()
    return replace(
        verdict,
        findings=(*verdict.findings, *compared.findings),
        compared=compared.places,
        not_compared=compared.hindrance,
    )


def _judged(stored: bytes, clear: bytes, key: ContentKey) -> tuple[str, ...]:
    return verifying.decryption_differences(stored, clear, key.secret)


def sealed(plan: EncodePlan, protection: ProtectionSettings, store: Store) -> EncodePlan:
    """Have a plan's tracks encrypted.

    Raises:
        ConfigError: A key is missing or wrong, a scheme can't encrypt what it is for, or two tracks would share
            initialisation vectors.
        StorageError: The source of keys, or the store, can't be reached.
    """
    from headend.app import content_keys
    from packager import sealing

    plan = sealing.sealed(plan, content_keys.scopes(protection, plan))
    sealing.check_vectors(plan, store.folders(layout.tracks(plan.title)))
    return plan


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
    """Fit the ladder and plan every task, as if the store were empty; nothing is written."""
    return tasks_for(draft_for(request, probe, known), request, None)


def tasks_for(
    draft: planning.Draft, request: Request, missing: frozenset[Part] | None, workers: Workers | None = None
) -> EncodePlan:
    """The plan with the tasks for what is missing, grouped for the workers that there are."""
    here = _workers(request, workers) if missing is None or missing else ()
    return draft.with_tasks(missing, workers=slot_count(here), slot_bytes=slot_bytes(here), early=request.publish_early)


def _workers(request: Request, workers: Workers | None) -> tuple[cluster.Worker, ...]:
    return cluster.workers_of(request.cluster) if workers is None else workers()


def fitted_draft(
    request: Request,
    probe: Probe,
    store: Store,
    known: Calibration | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
    workers: Workers | None = None,
) -> tuple[planning.Draft, analysis.Analysed | None]:
    """Decide what the title is to have, by a ladder that is fitted to it if the request says so.

    What the analysis finds is written to the store, and taken from there if it is known.

    Returns:
        The draft, and the analysis; None without one.
    """
    draft = draft_for(request, probe, known, workers)
    if request.targets is None:
        return draft, None
    found = analyse(request, probe, draft, store, on_event, run)
    fitted = draft_for(
        replace(request, ladder=found.analysis.ladder),
        probe,
        known,
        workers,
        conformed=draft.conformed,
        beside=found.analysis.decisions,
    )
    return fitted, found


def analyse(
    request: Request,
    probe: Probe,
    draft: planning.Draft,
    store: Store,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
) -> analysis.Analysed:
    """Fit the request's ladder to the title: as `fitted_draft`, from the draft by the ladder as it is."""

    def note(event: cluster.Event) -> None:
        if isinstance(event, cluster.Failed):
            again = "no further attempt" if event.last else "trying again"
            on_event(cluster.Notice(f"analysis: attempt {event.attempt} failed, {again}: {event.error.message}"))
        on_event(event)

    analyst = analysis.Analyst(
        draft,
        probe,
        request.ladder,
        request.targets or Targets(),
        settings=request.store,
        store=store,
        clusters=request.cluster,
        run=run,
        on_event=note,
        on_step=lambda name: on_event(Step(name)),
    )
    try:
        found = analyst.analyse()
    except DamagedMaster:
        look_for_all_damage(draft.with_tasks(workers=1), request.store, on_event)
        raise
    if not found.results:
        on_event(cluster.Notice(f"the ladder {found.analysis.ladder.name} of this master is known"))
    elif found.reused:
        on_event(cluster.Notice(f"analysis: {found.reused:,} of {found.results:,} results were in the store"))
    return found


def draft_for(
    request: Request,
    probe: Probe,
    known: Calibration | None = None,
    workers: Workers | None = None,
    *,
    conformed: conforming.Conformed | None = None,
    beside: tuple[str, ...] = (),
) -> planning.Draft:
    """Fit the ladder, and decide what the title is to have.

    Args:
        request: What a person asks for.
        probe: The master.
        known: By how much costs were misjudged.
        workers: Those that there are, where the caller knows.
        conformed: The picture on the grid, if that has been decided.
        beside: Decisions that were taken before.
    """
    missing = damage.holes(probe, planning.usable(probe))
    if missing and not request.encode.allow_damaged:
        raise damage.refusal(request.title, probe.master, missing)
    probe, conformed, fitted = fit(request.ladder, request.encode, request.store, probe, conformed)
    written, told_of_text = text_of(request, probe, conformed)
    here = _workers(request, workers)
    return planning.Draft(
        request.title,
        probe,
        conformed,
        ladder=request.ladder.name,
        video=fitted.video,
        audio=fitted.audio,
        decisions=(
            *beside,
            *fitted.decisions,
            *told_of_text,
            *damage.tell(missing, allowed=request.encode.allow_damaged),
            *grouping.tell_memory(
                fitted.video,
                Pricing(known.applied(measured()) if known else measured(), conformed, request.encode.effort),
                chunk_s=request.encode.chunk_s,
                slot_bytes=slot_bytes(here),
            ),
        ),
        settings=request.encode,
        tool=tool.version(),
        tool_digest=tool.digest(),
        costs=known.applied(measured()) if known else None,
        text=written,
        missing=missing,
        rungs=request.ladder.audio,
    )


def fit(
    ladder: Ladder,
    encode: EncodeSettings,
    store: StoreSettings,
    probe: Probe,
    conformed: conforming.Conformed | None = None,
) -> tuple[Probe, conforming.Conformed, fitting.Fitted]:
    """Decide what is delivered of a master, and which renditions it becomes.

    Args:
        ladder: The ladder.
        encode: How it is encoded.
        store: Where S3 is.
        probe: The master.
        conformed: The picture on the grid, if that has been decided.

    Returns:
        The probe, whose programmes are those that are delivered; the picture on the grid; and the ladder for both.

    Raises:
        ConfigError: What was asked for is not in the master.
        MasterError: The master can't be used.
    """
    conformed = conformed or conform(encode, store, probe)
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
    text.check(chosen, probe, start_s=conformed.track.start_s, duration_s=duration_s)
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


@dataclass(slots=True)
class _Job:
    """The part of a submit that encodes, measures and publishes.

    Attributes:
        request: What was asked for.
        store: Where it goes.
        submitted_at: When it was asked for.
        plan: The plan with its tasks.
        first: What is published before the rest; None for nothing.
        stock: What the store has of it.
        on_event: Gets what happens.
        run: Runs the tasks.
        check: What is measured.
        measuring: Tasks of measuring that were begun, by id.
        measured: How many of them are done.
        submission: Tells the receipts of this run from those of earlier ones.
    """

    request: Request
    store: Store
    submitted_at: str
    plan: EncodePlan
    first: EncodePlan | None
    stock: Stock
    on_event: Callable[[Event], None]
    run: cluster.RunTasks
    check: checking.Check
    measuring: dict[str, MeasureTask] = field(default_factory=dict)
    measured: int = 0
    submission: str = field(default_factory=lambda: secrets.token_hex(8))

    def publish(self, plan: EncodePlan) -> publishing.Placed:
        """Make a release of a plan whose parts are all there."""
        return self.place(present(plan, fold(self.store, self.stock, plan.tracks)))

    def place(self, presentation: Presentation) -> publishing.Placed:
        """Make a release, and make it current unless a person is to do that."""
        if self.request.hold:
            return publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        return publishing.publish(self.store, presentation, submitted_at=self.submitted_at)

    def encode(self) -> list[Receipt]:
        """Run the tasks on the cluster, with failed attempts on record; publish what comes first when it is there.

        What is to be measured in any case follows as soon as its chunk is there.
        """
        receipts: list[Receipt] = []
        plan, request = self.plan, self.request
        before = set(self.stock.missing(self.first.tracks)) if self.first else set()
        names = {track: name for name, track in plan.tracks.items()}
        gated = self.check.level is not Checking.OFF

        def publish_first() -> None:
            # Once all is there, the whole follows at once.
            if self.first and not before and len(receipts) < len(plan.tasks):
                if gated:
                    self.on_event(cluster.Notice("the first release is published before its quality is measured"))
                self.on_event(PublishedEarly(self.publish(self.first).presentation))

        def done(receipt: Receipt) -> None:
            receipts.append(receipt)
            self.stock.add(receipt)
            if before:
                # A rendition may be several tracks, each in a scheme of its own.
                made = (names[track.track] for track in receipt.tracks if track.track in names)
                before.difference_update((name, receipt.chunk) for name in made)
                publish_first()

        if not before:
            publish_first()
        waits = checking.waiting(
            self.check.first_tasks(),
            plan.chunks,
            self.stock.missing(rendition.id for rendition in plan.video),
            (rendition.id for rendition in plan.video),
        )
        try:
            self._run((*plan.tasks, *self._begun(waits.ready())), done, lambda made: self._begun(waits.follow(made)))
        except DamagedMaster:
            if plan.allow_damaged:
                raise
            look_for_all_damage(plan, request.store, self.on_event)
            raise
        return receipts

    def judge(self, presentation: Presentation) -> QualityReport | None:
        """Measure what is left, write the report, and hold the release against the rules.

        Raises:
            QualityRefused: It fails one; the release is complete and not current.
        """
        if self.check.level is Checking.OFF:
            return None
        if tasks := self.check.suspect_tasks(presentation):
            self.on_event(Step("measuring quality"))
            self._run(self._begun(tasks), lambda _: None, cluster.nothing_follows)
        self.on_event(Step("reporting quality"))
        # Whatever comes of it, the release is complete and stays until a person publishes or deletes it.
        placed = publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        report, _ = checking.conclude(
            self.check, placed.presentation, self.plan.master, self.request.store.endpoint_url
        )
        checking.refuse(report, self.store)
        return report

    def _begun(self, tasks: Sequence[MeasureTask]) -> Sequence[MeasureTask]:
        self.measuring.update((task.id, task) for task in tasks)
        return tasks

    def _run(
        self, tasks: Sequence[cluster.Work], on_receipt: Callable[[Receipt], None], follow: cluster.Follow
    ) -> None:
        """Run tasks of encoding and of measuring."""
        store, plan = self.store, self.plan

        def note(event: cluster.Event) -> None:
            if isinstance(event, cluster.Done):
                if isinstance(event.receipt, Measurement):
                    self.check.known.add(event.receipt)
                    self.measured += 1
                    self.on_event(Measured(self.measured, len(self.measuring)))
                    return
                on_receipt(event.receipt)
            if isinstance(event, cluster.Failed):
                try:
                    records.write_attempt(store, plan.title, records.attempt_of(event.task, event.attempt, event.error))
                except StorageError as error:  # a job must not end of it
                    self.on_event(cluster.Notice(f"a failed attempt is not on record: {error.message}"))
                if (task := self.measuring.get(event.task)) is not None:
                    again = "no further attempt" if event.last else "trying again"
                    self.on_event(
                        cluster.Notice(
                            f"attempt {event.attempt} at {task.label} failed, {again}: {event.error.message}"
                        )
                    )
                    return
            if isinstance(event, cluster.Advance) and event.task in self.measuring:
                return
            self.on_event(event)

        if tasks:
            keys = self.request.protection.keys if self.request.protection is not None else None
            order = order_of(
                plan,
                self.request.store,
                keys,
                logged=self.request.cluster.scheduler is not None,
                submission=self.submission,
            )
            self.run(tasks, partial(perform, order), self.request.cluster, note, tool=plan.tool, follow=follow)


def look_for_all_damage(plan: EncodePlan, store: StoreSettings, on_event: Callable[[Event], None]) -> None:
    """Look through a whole master after a task has met damage, so that the error names all of it.

    Raises:
        DamagedMaster: With all that was found; nothing is raised where nothing was found.
    """
    on_event(Step("looking through the whole master for damage"))
    with masters.opened(plan.master, store.endpoint_url) as source:
        found = sandbox.look_through(plan.master, source.url, damage.whole(plan.tasks), progress=source.progress)
    if found:
        raise damage.refusal(plan.title, plan.master, found)
