"""Decisions about a title before it is encoded: what the master is, what is delivered, and in which tasks.

Input: a request and the master's URL. Output: a probe, a draft and a plan. Only a title's analysis runs tasks.
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
    speed,
    text,
    tool,
)
from encoder.costs import Calibration, Pricing, measured
from encoder.scheduling import slot_bytes, slot_count
from encoder.subtitles import sidecars
from encoder.timelines import handovers
from encoder.timelines import policy as timing
from headend.app import analysis, failures
from headend.app.quality.checking import Check
from headend.app.request import Event, Request, Step, Workers
from headend.core import documents, layout
from headend.core.errors import ConfigError, DamagedMaster, StorageError
from headend.core.media import Crop, EncodePlan, Part, Probe, TextTrack, VideoRange
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import PredictedQuality
from headend.core.settings import (
    ClusterSettings,
    EncodeSettings,
    PictureChoice,
    ProtectionSettings,
    StoreSettings,
    Targets,
)
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
    """Identify and probe a master; of an object in S3 only the parts that describe it are read."""
    reporter = _ProgressReporter(on_event)
    master = masters.identify(
        url, store.endpoint_url, on_progress=partial(reporter.describe, "computing the digest of")
    )
    with masters.opened(master, store.endpoint_url) as source:

        def on_read(read_bytes: int) -> None:
            reporter.describe("reading", max(read_bytes, source.progress()), master.size_bytes)

        return sandbox.probe(master, source.url, choice, progress=source.progress, on_read=on_read)


def calibration(store: Store, workers: ClusterSettings, on_event: Callable[[Event], None]) -> Calibration:
    """Return the ratios of measured to predicted costs.

    They are the store's if it has any that can be read. Otherwise they follow from the speed of this machine if it does
    the work; they are empty for another cluster.
    """
    try:
        return documents.read(Calibration, store.get(layout.CALIBRATION), key=layout.CALIBRATION)
    except StorageError:
        if workers.scheduler is not None:
            return Calibration()
        return speed.calibration(lambda: on_event(Step("measuring the speed of this machine")))


def fitted_draft(
    request: Request,
    probe: Probe,
    store: Store,
    calibration: Calibration | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
    workers: Workers | None = None,
) -> tuple[planning.Draft, analysis.Analysed | None]:
    """Draft a title's renditions, with a ladder that is fitted to the title if the request asks for it.

    The analysis writes its results to the store and reuses those that are there.

    Returns:
        The draft, and the analysis or None.
    """
    draft = draft_for(request, probe, calibration, workers)
    if request.targets is None:
        return draft, None
    if request.protection is not None:
        # An analysis takes long: report a missing key before it.
        on_event(Step("asking for content keys"))
        with_encryption(draft.plan, request.protection, store)
    analysed = analyse(request, probe, draft, store, on_event, run)
    fitted = draft_for(
        replace(request, ladder=analysed.analysis.ladder),
        probe,
        calibration,
        workers,
        conformed=draft.conformed,
        earlier_decisions=analysed.analysis.decisions,
    )
    return fitted, analysed


def analyse(
    request: Request,
    probe: Probe,
    draft: planning.Draft,
    store: Store,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
) -> analysis.Analysed:
    """Fit the request's ladder to the title, starting from a draft with the ladder as it is; see `fitted_draft`."""

    def note(event: cluster.Event) -> None:
        if isinstance(event, cluster.Failed):
            on_event(failures.notice_of(event, "the analysis"))
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
        analysed = analyst.analyse()
    except DamagedMaster:
        scan_for_damage(draft.with_tasks(workers=1), request.store, on_event)
        raise
    if not analysed.results:
        on_event(cluster.Notice(f"reusing the ladder {analysed.analysis.ladder.name}, fitted to this master before"))
    elif analysed.reused:
        on_event(
            cluster.Notice(f"analysis: {analysed.reused:,} of {analysed.results:,} results were already in the store")
        )
    return analysed


def draft_for(
    request: Request,
    probe: Probe,
    calibration: Calibration | None = None,
    workers: Workers | None = None,
    *,
    conformed: conforming.Conformed | None = None,
    earlier_decisions: tuple[str, ...] = (),
) -> planning.Draft:
    """Fit the ladder to the master, and draft the title's renditions.

    Args:
        request: What the user asks for.
        probe: The master.
        calibration: Ratios of measured to predicted costs.
        workers: Returns the available workers; None asks the cluster.
        conformed: The picture on the grid, if it has been decided already.
        earlier_decisions: Earlier decisions to report with these.
    """
    missing = damage.find_missing_frames(probe, planning.checked_picture(probe))
    if missing and not request.encode.allow_damaged:
        raise damage.damage_error(request.title, probe.master, missing)
    probe, conformed, fitted = fit(request.ladder, request.encode, request.store, probe, conformed)
    text_tracks, text_decisions = text_of(request, probe, conformed)
    available = _workers(request, workers)
    costs = calibration.applied(measured()) if calibration else measured()
    return planning.Draft(
        request.title,
        probe,
        conformed,
        planning.Renditions(request.ladder.name, fitted.video, fitted.audio, text_tracks, request.ladder.audio),
        decisions=(
            *earlier_decisions,
            *fitted.decisions,
            *text_decisions,
            *damage.describe(missing, allowed=request.encode.allow_damaged),
            *grouping.describe_memory(
                fitted.video,
                Pricing(costs, conformed, request.encode.effort),
                chunk_s=request.encode.chunk_s,
                slot_bytes=slot_bytes(available),
            ),
        ),
        settings=request.encode,
        tool=tool.version(),
        tool_digest=tool.digest(),
        costs=costs,
        missing=missing,
    )


def fit(
    ladder: Ladder,
    encode: EncodeSettings,
    store: StoreSettings,
    probe: Probe,
    conformed: conforming.Conformed | None = None,
) -> tuple[Probe, conforming.Conformed, fitting.Fitted]:
    """Decide which tracks of a master are delivered, and in which renditions.

    Args:
        ladder: The ladder.
        encode: How it is encoded.
        store: Names the S3 endpoint.
        probe: The master.
        conformed: The picture on the grid, if it has been decided already.

    Returns:
        The probe with the programmes that are delivered, the picture on the grid, and the fitted ladder.

    Raises:
        ConfigError: The master doesn't have what was asked for.
        MasterError: The master can't be used.
    """
    conformed = conformed or conform(encode, store, probe)
    probe, sound_decisions = programmes_of(encode, probe, conformed)
    fitted = fitting.fit(ladder, replace(probe, video=conformed.kept), frame_rate=conformed.frame_rate)
    return probe, conformed, replace(fitted, decisions=(*fitted.decisions, *sound_decisions))


def programmes_of(
    encode: EncodeSettings, probe: Probe, conformed: conforming.Conformed
) -> tuple[Probe, tuple[str, ...]]:
    """Choose the sound programmes; return the probe with these only, and the decisions."""
    if not encode.audio:
        handovers.check_sound(probe.master, probe.audio, conformed.track)
    chosen = programmes.choose(probe.audio, encode.audio)
    duration_s = conformed.frame_count / conformed.frame_rate
    start_s = conformed.track.start_s
    if not encode.allow_damaged:
        timing.check(probe.master, chosen, start_s=start_s, max_s=encode.most_sound_gap_s)
    decisions = (
        *programmes.describe_programme(probe),
        *programmes.describe(chosen, probe.audio, start_s=start_s, duration_s=duration_s),
        *timing.describe(chosen, start_s=start_s),
    )
    level = [loudness.describe(encode.loudness_lufs)] if chosen else []
    return replace(probe, audio=chosen), (*decisions, *level)


def text_of(
    request: Request, probe: Probe, conformed: conforming.Conformed
) -> tuple[tuple[TextTrack, ...], tuple[str, ...]]:
    """Choose the text tracks; read and check sidecars. Return the tracks and the decisions."""
    choices, offset = request.encode.text, request.encode.subtitle_offset
    duration_s = conformed.frame_count / conformed.frame_rate
    files = {
        choice.source: sidecars.align(sidecars.identify(choice.source, request.store.endpoint_url), offset, duration_s)
        for choice in choices
        if choice.is_sidecar
    }
    chosen = text.choose(probe, choices, files, request.encode.embedded_text)
    text.check(chosen, probe, start_s=conformed.track.start_s, duration_s=duration_s)
    return chosen, tuple(text.describe(chosen, probe, files.values(), duration_s))


def conform(encode: EncodeSettings, store: StoreSettings, probe: Probe) -> conforming.Conformed:
    """Map the master's frames to the grid; samples are decoded only if there may be fields or bars."""
    master, track = probe.master, planning.checked_picture(probe)
    if damage.find_missing_frames(probe, track):
        track = damage.fill_missing_frames(track)
    fields = None
    if conforming.may_be_interlaced(track):
        with masters.opened(master, store.endpoint_url) as source:
            fields = conforming.detect_fields(track, source.url)
    conformed = conforming.conform(track, fields, encode.limits)

    def detect_borders(area: Crop) -> cropping.DetectedBorders:
        with masters.opened(master, store.endpoint_url) as source:
            return sandbox.detect_borders(
                cropping.choose_samples(master, track, area), source.url, progress=source.progress
            )

    crop, decisions = cropping.crop(track, encode.crop, detect_borders)
    return replace(
        conformed,
        crop=crop,
        decisions=(*conformed.decisions, *decisions),
        # If a damaged frame were replaced, the numbers of those after it would be wrong.
        conceal=encode.allow_damaged and not track.frames.is_counted,
    )


def with_encryption(plan: EncodePlan, protection: ProtectionSettings, store: Store | None) -> EncodePlan:
    """Return a plan with its tracks encrypted.

    Args:
        plan: A plan with clear tracks.
        protection: The encryption settings.
        store: The store whose tracks must not share initialisation vectors with the new ones; None for an empty one.

    Raises:
        ConfigError: A key is missing or wrong, a scheme can't encrypt its tracks, or two tracks would share
            initialisation vectors.
        StorageError: The key source or the store can't be reached.
    """
    from headend.app import content_keys
    from packager import encrypted_tracks

    plan = encrypted_tracks.with_encrypted_tracks(plan, content_keys.scopes(protection, plan))
    encrypted_tracks.check_vectors(plan, store.folders(layout.tracks(plan.title)) if store is not None else ())
    return plan


def plan_for(request: Request, probe: Probe) -> EncodePlan:
    """Fit the ladder and plan every task for an empty store; nothing is written."""
    draft = draft_for(request, probe)
    if request.protection is not None:
        draft.plan = with_encryption(draft.plan, request.protection, None)
    return tasks_for(draft, request, None)


def tasks_for(
    draft: planning.Draft, request: Request, missing: frozenset[Part] | None, workers: Workers | None = None
) -> EncodePlan:
    """Plan the tasks for the missing parts, or for all if ``missing`` is None, grouped for the available workers."""
    available = _workers(request, workers) if missing is None or missing else ()
    return draft.with_tasks(
        missing, workers=slot_count(available), slot_bytes=slot_bytes(available), early=request.publish_early
    )


def check_for(
    draft: planning.Draft,
    request: Request,
    store: Store,
    workers: Workers | None,
    fitted: analysis.Analysis | None = None,
) -> Check:
    """Set up the quality check of a draft's renditions, and keep the references that it needs."""
    plan = draft.plan
    level = request.checking
    check = Check(
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
        predicted={plan.tracks[id]: quality for id, quality in predicted(plan, fitted).items()} if fitted else {},
        hulls={str(codec.codec): tuple(map(_as_predicted, codec.hull)) for codec in fitted.codecs} if fitted else {},
        keys=request.protection.keys if request.protection is not None else None,
    )
    if request.encode.floor_vmaf is not None:
        measuring.check_model(check.measuring.viewing)
    elif level is not Checking.OFF:
        try:
            measuring.check_model(check.measuring.viewing)
        except ConfigError as error:
            raise ConfigError(f"{error.message}, or submit with --qc off") from None
    check.begin(discard=request.force)
    return check


def predicted(plan: EncodePlan, fitted: analysis.Analysis) -> dict[str, PredictedQuality]:
    """Return the quality that an analysis predicts for a plan's SDR renditions, by their ids."""
    points = {(codec.codec, round(point.kbps)): point for codec in fitted.codecs for point in codec.rungs}
    return {
        rendition.id: _as_predicted(point)
        for rendition in plan.video
        if rendition.video_range is VideoRange.SDR
        and (point := points.get((rendition.codec, round(rendition.average_bps / 1000)))) is not None
    }


def scan_for_damage(plan: EncodePlan, store: StoreSettings, on_event: Callable[[Event], None]) -> None:
    """Scan a whole master after a task has found damage, so that the error lists all of it.

    Raises:
        DamagedMaster: Damage was found; the error lists it.
    """
    on_event(Step("scanning the whole master for damage"))
    with masters.opened(plan.master, store.endpoint_url) as source:
        places = sandbox.scan_damage(plan.master, source.url, damage.merged_reads(plan.tasks), progress=source.progress)
    if places:
        raise damage.damage_error(plan.title, plan.master, places)


def _as_predicted(point: CurvePoint) -> PredictedQuality:
    return PredictedQuality(round(point.kbps * 1000), round(point.vmaf, 2))


def _workers(request: Request, workers: Workers | None) -> tuple[cluster.Worker, ...]:
    return cluster.workers_of(request.cluster) if workers is None else workers()


class _ProgressReporter:
    """Reports every `READ_EVERY_S` how much of a master has been read."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._reported_s = time.monotonic()

    def describe(self, what: str, done_bytes: int, total_bytes: int) -> None:
        if time.monotonic() - self._reported_s >= READ_EVERY_S:
            self._reported_s = time.monotonic()
            # Some parts may be read twice, so the count may exceed the size.
            share = min(0.99, done_bytes / total_bytes)
            self._on_event(Step(f"{what} the master: {share:.0%} of {total_bytes / 1e9:,.1f} GB"))
