"""Decisions about a title before it is encoded: what the master is, what is delivered, which tasks make it.

Comes in: a request and a master's URL. Goes out: a probe, a draft and a plan. Only an analysis of the title runs tasks.
"""

import time
from collections.abc import Callable
from dataclasses import replace
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
)
from encoder.costs import Calibration, Pricing, measured
from encoder.scheduling import slot_bytes, slot_count
from encoder.subtitles import sidecars
from encoder.timelines import policy as timing
from headend.app import analysis
from headend.app.quality import checking
from headend.app.request import Event, Request, Step, Workers
from headend.core import documents, layout
from headend.core.errors import ConfigError, DamagedMaster, StorageError
from headend.core.media import Crop, EncodePlan, Part, Probe, TextTrack, VideoRange
from headend.core.media.quality import Checking, PredictedQuality
from headend.core.settings import EncodeSettings, PictureChoice, ProtectionSettings, StoreSettings, Targets
from headend.core.storage import Store, masters
from ladders import fitting
from ladders.hull import CurvePoint
from ladders.ladder import Ladder

READ_EVERY_S = 10.0
"""Interval between reports of how much of a master has been read."""


def inspect(
    url: str,
    store: StoreSettings,
    on_event: Callable[[Event], None] = lambda _: None,
    choice: PictureChoice = PictureChoice(),  # noqa: B008  # frozen
) -> Probe:
    """Identify and probe a master; of an object in S3 only what tells about it is read."""
    telling = _ProgressReporter(on_event)
    master = masters.identify(url, store.endpoint_url, on_progress=partial(telling.describe, "computing the digest of"))
    with masters.opened(master, store.endpoint_url) as source:

        def on_read(read_bytes: int) -> None:
            telling.describe("reading", max(read_bytes, source.progress()), master.size_bytes)

        return sandbox.probe(master, source.url, choice, progress=source.progress, on_read=on_read)


def calibration(store: Store) -> Calibration:
    """Ratios of measured to predicted costs in this store; empty if there are none or they can't be read."""
    try:
        return documents.read(Calibration, store.get(layout.CALIBRATION), key=layout.CALIBRATION)
    except StorageError:
        return Calibration()


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
    if request.protection is not None:
        # An analysis takes long, and a key that is missing should be told of before it.
        on_event(Step("asking for content keys"))
        sealed(draft.plan, request.protection, store)
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
        scan_for_damage(draft.with_tasks(workers=1), request.store, on_event)
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
        known: Ratios of measured to predicted costs.
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
    costs = known.applied(measured()) if known else measured()
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
            *damage.describe(missing, allowed=request.encode.allow_damaged),
            *grouping.describe_memory(
                fitted.video,
                Pricing(costs, conformed, request.encode.effort),
                chunk_s=request.encode.chunk_s,
                slot_bytes=slot_bytes(here),
            ),
        ),
        settings=request.encode,
        tool=tool.version(),
        tool_digest=tool.digest(),
        costs=costs,
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
    message = (
        *programmes.describe_programme(probe),
        *programmes.describe(chosen, probe.audio, start_s=start_s, duration_s=duration_s),
        *timing.describe(chosen, start_s=start_s),
    )
    level = [loudness.describe(encode.loudness_lufs)] if chosen else []
    return replace(probe, audio=chosen), (*message, *level)


def text_of(
    request: Request, probe: Probe, conformed: conforming.Conformed
) -> tuple[tuple[TextTrack, ...], tuple[str, ...]]:
    """Settle which text is delivered; sidecars are read and checked."""
    choices, offset = request.encode.text, request.encode.subtitle_offset
    duration_s = conformed.frame_count / conformed.frame_rate
    beside = {
        choice.source: sidecars.aligned(
            sidecars.identify(choice.source, request.store.endpoint_url), offset, duration_s
        )
        for choice in choices
        if choice.is_sidecar
    }
    chosen = text.choose(probe, choices, beside, request.encode.embedded_text)
    text.check(chosen, probe, start_s=conformed.track.start_s, duration_s=duration_s)
    return chosen, tuple(text.describe(chosen, probe, beside.values(), duration_s))


def conform(encode: EncodeSettings, store: StoreSettings, probe: Probe) -> conforming.Conformed:
    """Decide how the master's frames make the grid's; samples are decoded only where there may be fields or bars."""
    master, track = probe.master, planning.usable(probe)
    if damage.holes(probe, track):
        track = damage.without_holes(track)
    fields = None
    if conforming.worth_a_look(track):
        with masters.opened(master, store.endpoint_url) as source:
            fields = conforming.detect_fields(track, source.url)
    conformed = conforming.conform(track, fields, encode.limits)

    def detect_borders(area: Crop) -> cropping.DetectedBorders:
        with masters.opened(master, store.endpoint_url) as source:
            return sandbox.detect_borders(cropping.sampling(master, track, area), source.url, progress=source.progress)

    crop, decisions = cropping.crop(track, encode.crop, detect_borders)
    return replace(conformed, crop=crop, decisions=(*conformed.decisions, *decisions), mended=encode.allow_damaged)


def sealed(plan: EncodePlan, protection: ProtectionSettings, store: Store | None) -> EncodePlan:
    """Have a plan's tracks encrypted.

    Args:
        plan: Of clear tracks.
        protection: How.
        store: Whose tracks must not share initialisation vectors with them; None for an empty one.

    Raises:
        ConfigError: A key is missing or wrong, a scheme can't encrypt what it is for, or two tracks would share
            initialisation vectors.
        StorageError: The source of keys, or the store, can't be reached.
    """
    from headend.app import content_keys
    from packager import sealing

    plan = sealing.sealed(plan, content_keys.scopes(protection, plan))
    sealing.check_vectors(plan, store.folders(layout.tracks(plan.title)) if store is not None else ())
    return plan


def plan_for(request: Request, probe: Probe, known: Calibration | None = None) -> EncodePlan:
    """Fit the ladder and plan every task, as if the store were empty; nothing is written."""
    draft = draft_for(request, probe, known)
    if request.protection is not None:
        draft.plan = sealed(draft.plan, request.protection, None)
    return tasks_for(draft, request, None)


def tasks_for(
    draft: planning.Draft, request: Request, missing: frozenset[Part] | None, workers: Workers | None = None
) -> EncodePlan:
    """The plan with the tasks for what is missing, grouped for the workers that there are."""
    here = _workers(request, workers) if missing is None or missing else ()
    return draft.with_tasks(missing, workers=slot_count(here), slot_bytes=slot_bytes(here), early=request.publish_early)


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
        predicted={plan.tracks[id]: one for id, one in predicted(plan, found).items()} if found else {},
        hulls={str(one.codec): tuple(map(_as_predicted, one.hull)) for one in found.codecs} if found else {},
        keys=request.protection.keys if request.protection is not None else None,
    )
    if request.encode.floor_vmaf is not None:
        measuring.check_model(check.measuring.viewing)
    elif level is not Checking.OFF:
        try:
            measuring.check_model(check.measuring.viewing)
        except ConfigError as error:
            raise ConfigError(f"{error.message}, or submit with --qc off") from None
    check.begin(anew=request.force)
    return check


def predicted(plan: EncodePlan, found: analysis.Analysis) -> dict[str, PredictedQuality]:
    """What an analysis has predicted for the SDR renditions of a plan, by their ids."""
    spots = {(one.codec, round(spot.kbps)): spot for one in found.codecs for spot in one.rungs}
    return {
        rendition.id: _as_predicted(spot)
        for rendition in plan.video
        if rendition.video_range is VideoRange.SDR
        and (spot := spots.get((rendition.codec, round(rendition.average_bps / 1000)))) is not None
    }


def scan_for_damage(plan: EncodePlan, store: StoreSettings, on_event: Callable[[Event], None]) -> None:
    """Look through a whole master after a task has met damage, so that the error names all of it.

    Raises:
        DamagedMaster: With all that was found; nothing is raised where nothing was found.
    """
    on_event(Step("looking through the whole master for damage"))
    with masters.opened(plan.master, store.endpoint_url) as source:
        found = sandbox.look_through(plan.master, source.url, damage.whole(plan.tasks), progress=source.progress)
    if found:
        raise damage.refusal(plan.title, plan.master, found)


def _as_predicted(spot: CurvePoint) -> PredictedQuality:
    return PredictedQuality(round(spot.kbps * 1000), round(spot.vmaf, 2))


def _workers(request: Request, workers: Workers | None) -> tuple[cluster.Worker, ...]:
    return cluster.workers_of(request.cluster) if workers is None else workers()


class _ProgressReporter:
    """Reports every `READ_EVERY_S` how much of a master has been read."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._told_s = time.monotonic()

    def describe(self, what: str, done_bytes: int, total_bytes: int) -> None:
        if time.monotonic() - self._told_s >= READ_EVERY_S:
            self._told_s = time.monotonic()
            # Some parts may be read twice.
            share = min(0.99, done_bytes / total_bytes)
            self._on_event(Step(f"{what} the master: {share:.0%} of {total_bytes / 1e9:,.1f} GB"))
