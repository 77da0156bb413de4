import pytest

from headend.app.jobs.lease import LeaseLost
from headend.app.jobs.model import Job, State, Status, fold
from headend.app.jobs.running import Running, ending_of, progress_of
from headend.app.jobs.sharing import ClusterState
from headend.app.jobs.summary import summary
from headend.core.errors import Cancelled, EncodingError, HeadendError
from tests.headend.app.jobs.makers import make_job_request


def make_job() -> Job:
    return fold(make_job_request(), Status(), ())


def make_running(error: BaseException | None = None, *, cancelled: bool = False) -> Running:
    return Running(make_job(), error=error, cancelled=cancelled, note="release r is held")


LOST = EncodingError("the scheduler has gone away")


@pytest.mark.parametrize(
    ("error", "cancelled", "is_stopping", "expected"),
    [
        (None, False, False, (State.DONE, "release r is held")),
        (None, True, True, (State.DONE, "release r is held")),
        (Cancelled("the job was cancelled"), True, False, (State.CANCELLED, "stopped")),
        (Cancelled("the dispatcher is stopping"), False, True, None),
        (Cancelled("unasked"), False, False, (State.FAILED, "unasked")),
        (EncodingError("no room"), False, False, (State.FAILED, "no room")),
        (ValueError("x"), False, False, (State.FAILED, "unexpected ValueError: x")),
        (LOST, False, False, None),
        (LOST, True, False, None),
    ],
)
def test_a_job_ends_by_its_error_unless_it_goes_back_to_the_queue(
    error: HeadendError | None, cancelled: bool, is_stopping: bool, expected: tuple[State, str] | None
) -> None:
    running = make_running(error, cancelled=cancelled)
    assert ending_of(running, is_stopping=is_stopping, cluster_lost=LOST) == expected


def test_a_lost_lease_ends_no_job() -> None:
    with pytest.raises(LeaseLost):
        ending_of(make_running(LeaseLost("taken over"), cancelled=True), is_stopping=False, cluster_lost=None)


def test_a_job_that_is_being_planned_keeps_its_progress() -> None:
    running = make_running()
    assert progress_of(running, [running], (), 1.0) is running.job.status.progress is None


def test_the_summary_names_five_jobs() -> None:
    assert summary([], 0, ClusterState()) == "no job is waiting or running"
    assert summary([], 1200, ClusterState()) == "1,200 queued, none running"
    text = summary([make_job()] * 7, 0, ClusterState())
    assert text == "7 running (film, film, film, film, film, 2 more), 0 queued; 0 tasks on 0 workers of 0 threads"
