"""Measuring an existing release: what has not been measured yet, and the report."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from encoder import cluster, sandbox, tool
from encoder.command import SourcePicture, VideoCommands
from encoder.measure_tasks import Measuring
from encoder.picture.colour import complete_colour
from encoder.scheduling import slot_bytes
from headend.app import deciding, failures
from headend.app.performing import perform
from headend.app.quality import pages
from headend.app.quality.checking import Check
from headend.app.quality.concluding import conclude
from headend.app.quality.reporting import judged
from headend.app.request import Event, Measured, Step
from headend.app.task_context import TaskContext
from headend.core import holds, measured
from headend.core.errors import ConfigError, MasterError, StorageError
from headend.core.measured import Reference
from headend.core.media import Effort, Master, Presentation, Probe
from headend.core.media.quality import Checking, Measurement, MeasureTask
from headend.core.media.quality_reports import DEFAULT_THRESHOLDS, QualityReport, Thresholds
from headend.core.settings import ClusterSettings, KeySettings, PictureChoice, StoreSettings
from headend.core.storage import Store, masters, open_store
from packager import lifecycle, reading

ENOUGH = {Checking.SAMPLED: (Checking.SAMPLED, Checking.FULL), Checking.FULL: (Checking.FULL,)}
"""By requested level: the levels of existing reports that satisfy it."""


def release_of(store: Store, title: str, release: str | None) -> str:
    """Return the named release, or else the current one, or else the newest.

    Raises:
        ConfigError: All releases of the title are deleted.
    """
    if release is not None:
        return release
    pointer = reading.read_pointer(store, title)
    if pointer is not None and pointer.release:
        return pointer.release
    kept = [row.release for row in lifecycle.releases(store, title) if not row.deleted_at]
    if not kept:
        raise ConfigError(
            f"every release of {title!r} in {store.url} is deleted; name one of 'headend releases {title}'"
        )
    return kept[0]


def assess(
    settings: StoreSettings,
    title: str,
    release: str | None,
    level: Checking,
    *,
    thresholds: Thresholds | None,
    cluster_settings: ClusterSettings,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
    keys: KeySettings | None = None,
) -> QualityReport:
    """Return the report on a release, after measuring what it lacks; only that requires the master.

    Args:
        settings: The store.
        title: Catalogue entry.
        release: Id of the release; None for the current one, or else the newest.
        level: How much to measure.
        thresholds: Lowest quality of the best renditions; None for those of the existing report.
        cluster_settings: The cluster.
        on_event: Called with every event.
        run: Runs tasks.
        keys: Where the keys of an encrypted release come from.

    Raises:
        ConfigError: There is no such release, or it can't be measured.
        MasterError: The master has moved or changed.
        EncodingError: A task failed all its attempts.
        StorageError: The store failed, or an object is missing.
    """
    store = open_store(settings, on_wait=lambda line: on_event(cluster.Notice(line)))
    release = release_of(store, title, release)
    known = measured.read_report(store, title, release)
    if thresholds is None:
        thresholds = DEFAULT_THRESHOLDS if known is None else known.thresholds
    if known is not None and known.checking in ENOUGH[level]:
        return known if known.thresholds == thresholds else _judged_again(store, known, thresholds)
    presentation = reading.load_presentation(store, title, release)
    master = _master(presentation)
    if presentation.protection is None:
        keys = None
    elif keys is None:
        raise ConfigError(
            f"release {release} of {title!r} is encrypted: give --keys, or measure the title before it is protected"
        )
    references = _references(store, presentation)
    try:
        masters.check_unchanged(master, settings.endpoint_url)
    except (MasterError, StorageError) as error:
        raise MasterError(
            f"quality is measured against the master, which can't be used: {error.message}", **error.facts
        ) from None
    on_event(Step("reading the master"))
    reference, measuring = _measuring(presentation, master, references, settings)
    check = Check(
        store=store,
        title=title,
        measuring=measuring,
        chunks=presentation.grid.chunks(),
        settings=reference.settings,
        tracks=tuple(track.id for track in presentation.video),
        level=level,
        thresholds=thresholds,
        slot_bytes=slot_bytes(cluster.workers_of(cluster_settings)),
        segment_count=presentation.grid.segment_count,
        predicted=reference.predicted,
        hulls=reference.hulls,
        keys=keys,
    )
    tracks = [track.id for track in presentation.video]
    with holds.held(store, title, tracks=tracks, releases=[release], reason="quality"):
        check.begin()
        tasks = check.suspect_tasks(presentation)
        on_event(Step("measuring quality"))
        _run(tasks, check, presentation, master, settings, cluster_settings, on_event, run)
        on_event(Step("reporting quality"))
        return conclude(check, presentation, master, settings.endpoint_url)


def _judged_again(store: Store, known: QualityReport, thresholds: Thresholds) -> QualityReport:
    """Apply other thresholds to a report that is complete; this needs no master."""
    report = judged(replace(known, thresholds=thresholds))
    pages.rewrite(store, report)
    measured.write_report(store, report)
    return report


def _master(presentation: Presentation) -> Master:
    if presentation.master is None:
        raise ConfigError(
            f"release {presentation.release} of {presentation.title!r} does not record its master; "
            "submit the master again: nothing is encoded twice"
        )
    return presentation.master


def _references(store: Store, presentation: Presentation) -> tuple[Reference, ...]:
    """Return the references of a release's tracks; a release encrypted later uses those of its clear tracks."""
    tracks = {track.id for track in presentation.video}
    found = measured.references(store, presentation.title)
    if known := [reference for reference in found if tracks <= set(reference.tracks)]:
        return tuple(known)
    if presentation.protection is not None and found:
        return found
    raise ConfigError(
        f"the store does not record how release {presentation.release} of {presentation.title!r} was made from its "
        "master; submit the master again: nothing is encoded twice"
    )


def _measuring(
    presentation: Presentation, master: Master, references: tuple[Reference, ...], settings: StoreSettings
) -> tuple[Reference, Measuring]:
    """Derive how renditions are compared, from the decisions made when they were encoded."""

    @cache
    def probed(choice: PictureChoice) -> Probe:
        with masters.opened(master, settings.endpoint_url) as source:
            return sandbox.probe(master, source.url, choice, progress=source.progress)

    for reference in references:
        measuring = _measuring_by(presentation, probed(reference.settings.picture), reference, settings)
        if measuring.digest == reference.digest:
            return reference, measuring
    raise ConfigError(
        f"this headend reads {master.url} differently from the version that encoded it; submit the master again"
    )


def _measuring_by(presentation: Presentation, probe: Probe, reference: Reference, settings: StoreSettings) -> Measuring:
    conformed = deciding.conform(reference.settings, settings, probe)
    picture = SourcePicture(conformed, complete_colour(conformed.track)[0])
    protection = presentation.protection
    return Measuring(
        presentation.title,
        picture,
        presentation.grid,
        VideoCommands(probe.master, picture, presentation.grid, Effort.STANDARD),
        [track.rendition for track in presentation.video],
        {track.rendition.id: track.id for track in presentation.video},
        {track.rendition.id: protection.track_keys(track.kids) for track in presentation.video} if protection else {},
    )


def _run(
    tasks: tuple[MeasureTask, ...],
    check: Check,
    presentation: Presentation,
    master: Master,
    settings: StoreSettings,
    cluster_settings: ClusterSettings,
    on_event: Callable[[Event], None],
    run: cluster.RunTasks,
) -> None:
    labels = {task.id: task.label for task in tasks}
    done = 0

    def note(event: cluster.Event) -> None:
        nonlocal done
        if isinstance(event, cluster.Done) and isinstance(event.receipt, Measurement):
            check.known.add(event.receipt)
            done += 1
            on_event(Measured(done, len(tasks)))
        elif isinstance(event, cluster.Failed):
            on_event(failures.notice_of(event, labels[event.task]))
        elif not isinstance(event, cluster.TaskProgress):
            on_event(event)

    if tasks:
        context = TaskContext(
            store=settings,
            title=presentation.title,
            master=master,
            tool=tool.version(),
            tool_digest=tool.digest(),
            grid=presentation.grid,
            tracks={},
            divisors={},
            vp9_levels={},
            sample_rate_hz=0,
            frame_samples={},
            text=(),
            logged=cluster_settings.scheduler is not None,
            keys=check.keys,
        )
        run(tasks, partial(perform, context), cluster_settings, note, tool=tool.version())
