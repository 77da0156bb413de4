"""From a master to a published title: what `submit` does.

1. Probe the master.
2. Fit the ladder to it: decide the renditions, and draft a plan with their tracks.
3. Look up which parts the store has already, and plan tasks for the others.
4. Run the tasks; each returns a receipt for what it wrote to the store.
5. Merge the receipts into an index for each track.
6. Write a release from the indexes, and make it current.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from encoder import cluster, early_release, grouping
from headend.app import deciding
from headend.app.request import Event, Outcome, Planned, Request, Step, Workers
from headend.app.title_job import TitleJob
from headend.core import documents, holds, layout, records
from headend.core.errors import StorageError
from headend.core.storage import check_writable, masters, open_store, with_retries
from packager import publishing
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
    started = time.monotonic()
    submitted_at = request.submitted_at or publishing.now()
    layout.check_title(request.title)
    if workers is None:  # a dispatcher passes workers: it has accepted the job, so it waits instead
        _fail_early(request)

    def on_wait(line: str) -> None:
        on_event(cluster.Notice(line))

    store = open_store(request.store, on_wait=on_wait)
    if request.protection is not None:
        from headend.app import content_keys

        content_keys.check(request.protection.keys, request.title)
    publishing.read_pointer(store, request.title)  # fails early if an older headend wrote the store
    on_event(Step("reading the master"))
    probe = with_retries(
        lambda: deciding.inspect(request.master, request.store, on_event, request.encode.picture),
        request.store.patience_s,
        on_wait=on_wait,
    )
    calibration = deciding.calibration(store, request.cluster, on_event)
    draft, analysed = deciding.fitted_draft(request, probe, store, calibration, on_event, run, workers)
    if request.protection is not None:
        on_event(Step("asking for content keys"))
        draft.plan = deciding.with_encryption(draft.plan, request.protection, store)
    early_plan = early_release.early_part(draft.plan) if request.publish_early else None
    if request.publish_early and early_plan is None:
        on_event(cluster.Notice("no early release: the title has nothing but H.264 and AAC"))
    with holds.held(store, request.title, tracks=draft.plan.tracks.values(), reason="submit"):
        stored = StoredParts(draft.plan) if request.force else find_stored_parts(store, draft.plan)
        reused, done = tuple(stored.indexed), stored.done
        plan = deciding.tasks_for(draft, request, frozenset(draft.plan.parts) - done, workers)
        for line in plan.decisions:
            if line.startswith(grouping.MEMORY):
                on_event(cluster.Notice(line))
        on_event(Planned(plan, len(done), reused, analysed.cpu_s if analysed else 0.0))
        records.record_lost_runs(store, request.title)
        check = deciding.check_for(draft, request, store, workers, analysed.analysis if analysed else None)
        job = TitleJob(request, store, submitted_at, plan, early_plan, stored, on_event, run, check)
        receipts = job.encode()
        if receipts:
            with suppress(StorageError):  # only estimates get worse without it
                store.put(layout.CALIBRATION, documents.write(calibration.learned(plan, receipts)))
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
        wall_s=time.monotonic() - started,
        quality=quality,
    )


def _fail_early(request: Request) -> None:
    """Check that the master, the cluster and the store can be reached.

    Raises:
        HeadendError: One of them can't.
    """
    masters.check_exists(request.master, request.store.endpoint_url)
    cluster.check_reachable(request.cluster)
    check_writable(open_store(replace(request.store, patience_s=0.0)))
