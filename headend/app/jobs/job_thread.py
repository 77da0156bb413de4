"""A job's own thread: runs the pipeline on the shared cluster, and leaves the outcome for the main thread."""

from collections.abc import Callable
from dataclasses import replace

from headend.app import pipeline
from headend.app.jobs.accounting import Ledger
from headend.app.jobs.model import Change, Job, State, utc_now
from headend.app.jobs.running import Running
from headend.app.jobs.sharing import SharedCluster
from headend.app.request import Event, Outcome, Planned, Request, Step
from headend.core.errors import Cancelled, QualityRefused
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import with_retries


def request_of(job: Job, store: StoreSettings, cluster: ClusterSettings) -> Request:
    """Return a job's request with the dispatcher's store and cluster.

    It has the time of submission, so that an older job can't replace the release of a newer one, whichever ends first.
    """
    submitted = job.request
    return replace(
        submitted.request,
        store=replace(store, patience_s=submitted.request.store.patience_s),
        cluster=cluster,
        submitted_at=submitted.submitted_at,
    )


def run_job(
    running: Running,
    request: Request,
    cluster: SharedCluster,
    *,
    check_lease: Callable[[], None],
    is_stopping: Callable[[], bool],
    on_event: Callable[[Event], None],
) -> None:
    """Run a job's pipeline; never raises.

    Args:
        running: The job; gets the outcome or the error.
        request: Its request.
        cluster: Where its tasks run.
        check_lease: Raises `LeaseLost` unless the dispatcher still holds the lease; called before publishing.
        is_stopping: Returns whether the dispatcher is about to stop.
        on_event: Called with every event, in this thread.
    """

    def stopped() -> bool:
        return running.cancelled or is_stopping()

    def note(event: Event) -> None:
        if stopped():
            raise Cancelled("the job was cancelled")
        if isinstance(event, Step) and event.name == "publishing":
            with_retries(check_lease, request.store.patience_s, stopped, lambda _line: None)
            running.changes.put(Change(State.PUBLISHING, utc_now()))
        if isinstance(event, Planned):
            running.ledger = Ledger(event)
        elif running.ledger is not None:
            running.ledger.note(event)
        on_event(event)

    try:
        run = cluster.runner_of(running.job.id, running.job.priority)
        outcome = pipeline.submit(request, note, run=run, workers=cluster.workers)
        running.release = outcome.presentation.release
        running.note = _remark(outcome)
    except QualityRefused as error:
        # The release is complete, and an operator may publish it.
        running.error, running.release = error, str(error.facts.get("release", ""))
    except BaseException as error:
        running.error = error
    finally:
        running.finished.set()


def _remark(outcome: Outcome) -> str:
    release, title = outcome.presentation.release, outcome.presentation.title
    if outcome.held:
        return f"release {release} is held: 'headend publish {title} --release {release}' publishes it"
    if outcome.newer:
        return f"release {outcome.newer} of a newer request stays current"
    return ""
