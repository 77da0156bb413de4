"""Errors pass through Dask unchanged and keep their facts."""

import pickle

import pytest

from headend.core import errors
from headend.core.errors import (
    Cancelled,
    ChunkRejected,
    CommandRefused,
    EncodingError,
    HeadendError,
    ObjectMissing,
    PlanMismatch,
    StorageError,
    StoreUnavailable,
    TaskCrashed,
    ToolFailed,
    WorkerUnfit,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HeadendError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_with_its_message_and_facts(kind: type[HeadendError]) -> None:
    before = kind("the encoder failed: try again", status=1, argv=["ffmpeg", "-i"], nested={"key": (1, 2)})
    after = pickle.loads(pickle.dumps(before))

    assert type(after) is kind
    assert str(after) == str(before)
    assert str(after).startswith("the encoder failed: try again")
    assert str(after).count(kind.advice) == 1 or not kind.advice
    assert after.facts == before.facts


def test_only_temporary_faults_are_retryable() -> None:
    assert {kind for kind in KINDS if kind.retryable} == {ToolFailed, WorkerUnfit, ChunkRejected, StoreUnavailable}


@pytest.mark.parametrize("kind", [PlanMismatch, CommandRefused, TaskCrashed])
def test_permanent_faults_are_reported_as_headends_and_not_retried(
    kind: type[HeadendError],
) -> None:
    error = kind("aac: codec frame 7 lasts 1025 samples, but the codec's last 1024")
    assert not error.retryable
    assert "fault of headend, not of the master" in error.message


def test_catching_a_base_class_catches_its_subclasses() -> None:
    assert all(issubclass(kind, EncodingError) for kind in (ToolFailed, ChunkRejected, Cancelled))
    assert all(issubclass(kind, StorageError) for kind in (ObjectMissing, StoreUnavailable))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_it_means(kind: type[HeadendError]) -> None:
    assert kind.__doc__
