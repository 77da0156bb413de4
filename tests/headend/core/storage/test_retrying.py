"""Requests wait for an unreachable store, but not for one that refuses them."""

import re
import threading
import time
from collections.abc import Iterator

import pytest

from headend.core.errors import Cancelled, StorageError, StoreUnavailable
from headend.core.settings import StoreSettings
from headend.core.storage import open_store, retrying
from headend.core.storage.local_server import LocalS3
from tests.support.gate import Gate, gate_before
from tests.support.s3_servers import BUCKET


@pytest.fixture
def gate(rclone_s3: LocalS3) -> Iterator[Gate]:
    with gate_before(rclone_s3.endpoint_url) as running:
        yield running


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSES_S", (0.1, 0.2))


def settings(gate: Gate, patience_s: float) -> StoreSettings:
    return StoreSettings(f"s3://{BUCKET}/patience", gate.url, patience_s)


def test_an_outage_is_waited_for_and_reported(gate: Gate) -> None:
    messages: list[str] = []
    store = open_store(settings(gate, 60), on_wait=messages.append)
    store.put("a", b"1")
    gate.become("refuse")
    threading.Timer(1.5, gate.become, ("open",)).start()

    store.put("b", b"2")

    assert store.get("b") == b"2"
    assert len(messages) == 1
    assert re.match(r"waiting for the store, for \d+ s more: can.t write b in s3://", messages[0])


@pytest.mark.parametrize(("quick_s", "reported"), [(60.0, 0), (0.0, 1)])
def test_a_single_failure_is_reported_at_once_if_it_took_long(
    quick_s: float, reported: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "QUICK_S", quick_s)
    failures, messages = [StoreUnavailable("no answer")], list[str]()

    def request() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert retrying.with_retries(request, 60, on_wait=messages.append) == "answer"
    assert messages == ["waiting for the store, for 60 s more: no answer"] * reported


def test_after_the_given_patience_the_first_error_is_reported(gate: Gate) -> None:
    store = open_store(settings(gate, 1))
    gate.become("refuse")
    with pytest.raises(StoreUnavailable, match=r"can't write a in .*; gave up after 1 s \(--store-patience\)"):
        store.put("a", b"1")


def test_a_cancelled_task_stops_waiting(gate: Gate) -> None:
    stopped = threading.Event()
    store = open_store(settings(gate, 600), cancelled=stopped.is_set)
    gate.become("refuse")
    threading.Timer(0.5, stopped.set).start()
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        store.get("a")
    assert time.monotonic() - started_s < 30


def test_refused_requests_are_not_repeated(gate: Gate) -> None:
    store = open_store(StoreSettings("s3://no-such-bucket-here/x", gate.url, 600))
    started_s = time.monotonic()
    with pytest.raises(StorageError):
        store.put("a", b"1")
    assert time.monotonic() - started_s < 30
