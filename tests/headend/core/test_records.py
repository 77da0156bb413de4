import msgspec
import pytest

from headend.core import layout, records
from headend.core.errors import StorageError, ToolFailed
from headend.core.records import Attempt
from headend.core.storage.memory import MemoryStore

URL = "http://s3.local/films/a.mov?X-Amz-Signature=5ec2e7"


def make_attempt(task: str = "t1", number: int = 1, *, stderr: str = "") -> Attempt:
    return Attempt(task, number, "tcp://10.0.0.5:1234", "2026-01-02T03:04:05+00:00", "it failed", ("ffmpeg",), stderr)


def test_attempts_are_read_by_task_and_number() -> None:
    store = MemoryStore()
    written = [make_attempt("t2", 1), make_attempt("t1", 10), make_attempt("t1", 2)]
    for attempt in written:
        records.write_attempt(store, "film", attempt)
    records.write_attempt(store, "other", make_attempt())
    assert records.attempts(store, "film") == (written[2], written[1], written[0])
    assert records.attempts(store, "third") == ()


def test_a_second_run_keeps_the_records_of_the_first() -> None:
    store = MemoryStore()
    for number, output in [(1, "first run"), (2, "first run"), (1, "second run")]:
        records.write_attempt(store, "film", make_attempt("t1", number, stderr=output))

    found = [(attempt.number, attempt.stderr) for attempt in records.attempts(store, "film")]
    assert found == [(1, "first run"), (2, "first run"), (3, "second run")]


def test_no_secret_is_recorded() -> None:
    store = MemoryStore()
    error = ToolFailed(f"ffmpeg can't open {URL}", argv=["ffmpeg", "-i", URL], stderr=f"{URL}: 403", worker="tcp://w:1")
    records.write_attempt(store, "film", records.attempt_of("t1", 1, error))
    assert b"5ec2e7" not in store.get(layout.attempt("film", "t1", 1))
    (found,) = records.attempts(store, "film")
    assert found.argv == ("ffmpeg", "-i", "http://s3.local/films/a.mov?…")
    assert found.worker == "tcp://w:1"
    assert found.at.endswith("+00:00")


def test_an_error_without_a_command_is_recorded() -> None:
    attempt = records.attempt_of("t1", 3, StorageError("the disk is full"))
    assert (attempt.number, attempt.error, attempt.argv, attempt.stderr) == (3, "the disk is full", (), "")


def test_the_error_for_a_damaged_record_names_its_key() -> None:
    store = MemoryStore()
    key = layout.attempt("film", "t1", 1)
    store.put(key, msgspec.json.encode({"kind": "Attempt", "version": 1, "body": {"task": 1}}))
    with pytest.raises(StorageError, match=key):
        records.attempts(store, "film")


def begun(task: str, number: int, worker: str = "tcp://10.0.0.5:1234") -> tuple[str, Attempt]:
    return f"{task}-{number}-{number:08x}", Attempt(task, number, worker, f"2026-01-02T03:04:0{number}+00:00", "")


def test_a_finished_run_leaves_no_record() -> None:
    store = MemoryStore()
    run, attempt = begun("t1", 1)
    records.begin(store, "film", run, attempt)
    assert records.attempts(store, "film") == ()
    records.end(store, "film", run)
    records.record_lost_runs(store, "film")
    assert list(store.list("")) == []


def test_a_run_without_an_end_is_lost() -> None:
    store = MemoryStore()
    for number in (1, 2):
        records.begin(store, "film", *begun("t1", number))
    records.begin(store, "film", *begun("t1-2", 1))
    records.record_lost_runs(store, "film")
    records.record_lost_runs(store, "film")
    found = [(attempt.task, attempt.number, attempt.error) for attempt in records.attempts(store, "film")]
    assert found == [("t1", 1, records.LOST), ("t1", 2, records.LOST), ("t1-2", 1, records.LOST)]
    assert not [info.key for info in store.list("") if info.key.endswith(records.BEGUN_SUFFIX)]


def test_a_failure_replaces_its_begun_record_and_earlier_runs_are_lost() -> None:
    store = MemoryStore()
    records.begin(store, "film", *begun("t1", 1, "tcp://10.0.0.9:1"))
    records.begin(store, "film", *begun("t1", 2))
    records.begin(store, "film", *begun("t1-2", 1))
    records.write_attempt(store, "film", make_attempt("t1", 1))
    assert [(a.number, a.error) for a in records.attempts(store, "film")] == [(1, records.LOST), (2, "it failed")]
    assert [info.key for info in store.list("") if info.key.endswith(records.BEGUN_SUFFIX)] == [
        layout.begun("film", "t1-2-1-00000001")
    ]


def test_an_earlier_run_counts_as_lost_if_the_failed_run_recorded_no_begin() -> None:
    store = MemoryStore()
    records.begin(store, "film", *begun("t1", 1, "tcp://10.0.0.9:1"))
    records.write_attempt(store, "film", make_attempt("t1", 2))
    assert [a.number for a in records.attempts(store, "film")] == [1, 2]
