from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.app.jobs.model import (
    Change,
    JobRequest,
    State,
    Status,
    Verb,
    apply,
    check_id,
    fold,
    label_of,
    new_id,
    refusal,
)
from headend.core import documents
from headend.core.errors import ConfigError
from headend.core.settings import ClusterSettings, EncodeSettings
from tests.headend.app.jobs.makers import AT, make_command, make_job_request, make_request

VERBS = [verb for verb in Verb if verb is not Verb.PRIORITISE]


def test_a_request_without_status_is_queued_since_its_submission() -> None:
    job = fold(make_job_request(), Status(), ())
    assert (job.state, job.priority) == (State.QUEUED, 50)
    assert job.history == (Change(State.QUEUED, AT),)


def test_a_job_document_reads_back_as_it_was_written() -> None:
    asked = replace(make_job_request(), labels=(("season", "2"),), notify=("https://example.test/hook",))
    assert documents.read(JobRequest, documents.write(asked)) == asked


def test_cancel_ends_a_waiting_job_at_once_and_records_by_whom() -> None:
    job = fold(make_job_request(), Status(), [make_command(1, Verb.CANCEL)])
    assert (job.state, job.why) == (State.CANCELLED, "cancel by bob@desk")


def test_cancel_of_a_running_job_waits_for_its_dispatcher() -> None:
    running = Status((Change(State.QUEUED, AT), Change(State.RUNNING, AT)))
    job = fold(make_job_request(), running, [make_command(1, Verb.CANCEL)])
    assert (job.state, job.cancelling) == (State.RUNNING, True)


def test_commands_take_effect_in_their_order_even_if_read_in_another() -> None:
    commands = [make_command(3, Verb.RETRY), make_command(1, Verb.HOLD), make_command(2, Verb.CANCEL)]
    job = fold(make_job_request(), Status(), commands)
    assert [change.state for change in job.history] == [State.QUEUED, State.HELD, State.CANCELLED, State.QUEUED]


def test_commands_that_the_dispatcher_has_processed_are_ignored() -> None:
    done = make_command(1, Verb.CANCEL)
    again = Status((Change(State.QUEUED, AT), Change(State.CANCELLED, AT), Change(State.QUEUED, AT)), taken=done.id)
    assert fold(make_job_request(), again, [done]).state is State.QUEUED


def test_the_last_priority_holds() -> None:
    commands = [make_command(1, Verb.PRIORITISE, 90), make_command(2, Verb.PRIORITISE, 10)]
    assert fold(make_job_request(priority=30), Status(), commands).priority == 10


@given(st.builds(EncodeSettings), st.builds(ClusterSettings))
def test_every_request_survives_the_queue(encode: EncodeSettings, cluster: ClusterSettings) -> None:
    asked = replace(make_job_request(), request=replace(make_request(), encode=encode, cluster=cluster))
    assert documents.read(JobRequest, documents.write(asked)) == asked


@given(st.lists(st.sampled_from(VERBS), max_size=12))
def test_a_command_changes_the_state_exactly_when_it_is_not_refused(verbs: list[Verb]) -> None:
    job = fold(make_job_request(), Status(), ())
    for number, verb in enumerate(verbs):
        after = apply(job, make_command(number, verb))
        assert (after == job) == (refusal(job, verb) is not None)
        job = after


def test_ids_sort_by_time_and_are_checked() -> None:
    assert check_id(new_id())
    for wrong in ("", "../x", "20261128t200000000", "20261128T200000000-00000a", "20261128t200000000-00000a/x"):
        with pytest.raises(ConfigError):
            check_id(wrong)


@pytest.mark.parametrize("wrong", ["season", "=2", "a b=2", "season=\x1b[2J", "season=" + "x" * 300])
def test_a_label_is_a_name_with_a_printable_value(wrong: str) -> None:
    assert label_of("season=2") == ("season", "2")
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        label_of(wrong)
