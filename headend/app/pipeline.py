"""From a master to a published title: what `submit` does.

1. Probe the master.
2. Fit the ladder to it: decide the renditions, and draft a plan with their tracks.
3. Look up which parts the store has already, and plan tasks for the others.
4. Run the tasks; each returns a receipt for what it wrote to the store.
5. Merge the receipts into an index for each track.
6. Write a release from the indexes, and make it current.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from encoder import cluster, early_release, grouping
from encoder.costs import Calibration
from headend.app import deciding
from headend.app.request import Event, Outcome, Planned, Request, Step, Workers
from headend.app.title_job import TitleJob
from headend.core import documents, holds, layout, records
from headend.core.errors import StorageError
from headend.core.media import EncodePlan, Probe, Receipt
from headend.core.storage import Store, check_writable, masters, open_store, with_retries
from packager import publishing, reading
from packager.presentation import assemble
from packager.stored_parts import StoredParts, find_stored_parts, merge_parts, remove_receipts


def submit(
    request: Request,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
    workers: Workers | None = None,
) -> Outcome:
    """Encode a master and publish it as a title.

    Only parts that the store does not have are encoded: repeating a request resumes it, and repeating it with more
    renditions encodes only these.

    Args:
        request: What the user asks for.
        on_event: Called with every event.
        run: Runs tasks; jobs that share a cluster pass their own.
        workers: Returns the available workers; jobs that share a cluster pass their own. None asks the cluster.

    Raises:
        ConfigError: The request is wrong, or the scheduler can't be reached.
        MasterError: The master can't be used, or changed while it was read.
        EncodingError: A task failed all its attempts.
        StorageError: The store failed, or an object is missing.
        PackagingError: The parts don't fit together.
        QualityRefused: The release is complete, but fails a quality rule; it is not made current.
    """
    started_s = time.monotonic()
    submitted_at = request.submitted_at or publishing.now()
    layout.check_title(request.title)
    if workers is None:  # a dispatcher passes workers: it has accepted the job, so it waits instead
        _fail_early(request)

    store = _open_store(request, on_event)
    probe = _probe(request, on_event)
    calibration = deciding.calibration(store, request.cluster, on_event)
    draft, analysed = deciding.fitted_draft(request, probe, store, calibration, on_event, run, workers)
    if request.protection is not None:
        on_event(Step("asking for content keys"))
        draft.plan = deciding.with_encryption(draft.plan, request.protection, store)
    early_plan = _early_plan(request, draft.plan, on_event)
    with holds.held(store, request.title, tracks=draft.plan.tracks.values(), reason="submit"):
        stored = StoredParts(draft.plan) if request.force else find_stored_parts(store, draft.plan)
        reused, done = tuple(stored.indexed), stored.done
        plan = deciding.tasks_for(draft, request, frozenset(draft.plan.parts) - done, workers)
        _report_memory(plan, on_event)
        on_event(Planned(plan, len(done), reused, analysed.cpu_s if analysed else 0.0))
        records.record_lost_runs(store, request.title)
        check = deciding.check_for(draft, request, store, workers, analysed.analysis if analysed else None)
        job = TitleJob(request, store, submitted_at, plan, early_plan, stored, on_event, run, check)
        receipts = job.encode()
        _learn_costs(store, calibration, plan, receipts)
        presentation = assemble(plan, merge_parts(store, stored, plan.tracks))
        remove_receipts(store, stored)
        quality = job.judge(presentation)
        on_event(Step("publishing"))
        published = job.publish_or_hold(presentation)
        records.record_lost_runs(store, request.title)
    return Outcome(
        plan=plan,
        presentation=published.presentation,
        is_current=published.is_current,
        newer=published.newer,
        held=published.held,
        tracks=len(plan.tracks),
        reused_tracks=len(reused),
        parts=len(plan.parts),
        reused_parts=len(done),
        encoded_tasks=len(plan.tasks),
        cpu_s=sum(receipt.cpu_s for receipt in receipts),
        predicted_cpu_s=sum(task.cost for task in plan.tasks),
        wall_s=time.monotonic() - started_s,
        quality=quality,
    )


def _open_store(request: Request, on_event: Callable[[Event], None]) -> Store:
    """Open the store, and check what would make a job fail after its master is encoded.

    Raises:
        ConfigError: The source of content keys can't be read.
        StorageError: The store failed, or an older headend wrote it.
    """
    store = open_store(request.store, on_wait=lambda line: on_event(cluster.Notice(line)))
    if request.protection is not None:
        from headend.app import content_keys

        content_keys.check(request.protection.keys, request.title)
    reading.read_pointer(store, request.title)
    return store


def _probe(request: Request, on_event: Callable[[Event], None]) -> Probe:
    """Probe the master; waits for its store if that can't be reached."""
    on_event(Step("reading the master"))
    return with_retries(
        lambda: deciding.inspect(request.master, request.store, on_event, request.encode.picture),
        request.store.patience_s,
        on_wait=lambda line: on_event(cluster.Notice(line)),
    )


def _early_plan(request: Request, plan: EncodePlan, on_event: Callable[[Event], None]) -> EncodePlan | None:
    """The plan of the early release; None if there will be none."""
    if not request.publish_early:
        return None
    early_plan = early_release.early_part(plan)
    if early_plan is None:
        on_event(cluster.Notice("no early release: the title has nothing but H.264 and AAC"))
    return early_plan


def _report_memory(plan: EncodePlan, on_event: Callable[[Event], None]) -> None:
    """Report the decision that tells the cost of too little memory; others are shown with the plan."""
    for line in plan.decisions:
        if line.startswith(grouping.MEMORY):
            on_event(cluster.Notice(line))


def _learn_costs(store: Store, calibration: Calibration, plan: EncodePlan, receipts: Sequence[Receipt]) -> None:
    """Store what the receipts say about costs, for the estimates of later jobs."""
    if receipts:
        with suppress(StorageError):  # only estimates get worse without it
            store.put(layout.CALIBRATION, documents.write(calibration.learned(plan, receipts)))


def _fail_early(request: Request) -> None:
    """Check that the master, the cluster and the store can be reached.

    Raises:
        HeadendError: One of them can't.
    """
    masters.check_exists(request.master, request.store.endpoint_url)
    cluster.check_reachable(request.cluster)
    check_writable(open_store(replace(request.store, patience_s=0.0)))
