"""A worker's handling of a task, in this process."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.cluster import TaskRun
from headend.app import deciding
from headend.app.performing import perform
from headend.app.request import Request
from headend.app.task_context import TaskContext, context_of
from headend.core import layout
from headend.core.errors import ChunkRejected, HeadendError, StorageError
from headend.core.media import Codec, Effort, EncodeTask, Kind, Receipt
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage.local import LocalStore
from ladders import choosing, loading
from tests.support.masters import make_film

LADDER = choosing.select(loading.load("smoke"), codecs=(Codec.AVC, Codec.HEVC))


@pytest.fixture
def smoke(tmp_path: Path) -> tuple[TaskContext, EncodeTask]:
    """The context and the task of the picture of a film of two seconds."""
    film = make_film(tmp_path / "film.mp4", frame_count=50, size=(160, 90))
    settings = StoreSettings(str(tmp_path / "store"))
    encode = EncodeSettings(segment_s=Fraction(1, 4), chunk_s=Fraction(2), effort=Effort.DRAFT)
    request = Request(str(film), "film", LADDER, settings, ClusterSettings(workers=1), encode)
    plan = deciding.plan_for(request, deciding.inspect(str(film), settings))
    return context_of(plan, settings), next(task for task in plan.tasks if task.kind is Kind.VIDEO)


def carry_out(context: TaskContext, task: EncodeTask, folder: Path) -> Receipt:
    return perform(context, TaskRun(task, 1, "here", folder, lambda: False, lambda _: None, lambda: None))


@pytest.mark.parametrize(
    ("in_the_plan", "in_the_command", "message"),
    [
        # Frames that are missing, frames that are too many, a GOP of another length, other ticks.
        ("setpts=N", "trim=end_frame=49,setpts=N", "chunk 0 has 49 frames, not 50"),
        ("setpts=N", "tpad=stop=1,setpts=N", "chunk 0 has 51 frames, not 50"),
        ("keyint=6", "keyint=4", "is not on the grid"),
        ("25000", "50000", "another timescale than the plan"),
    ],
)
def test_output_that_disagrees_with_the_plan_is_headends_fault_and_fails_at_once(
    in_the_plan: str, in_the_command: str, message: str, smoke: tuple[TaskContext, EncodeTask], tmp_path: Path
) -> None:
    context, task = smoke
    assert any(in_the_plan in word for word in task.argv)
    other = replace(task, argv=tuple(word.replace(in_the_plan, in_the_command, 1) for word in task.argv))

    with pytest.raises(ChunkRejected, match=message) as caught:
        carry_out(context, other, tmp_path)

    assert not caught.value.retryable
    assert "fault of headend, not of the master" in caught.value.message


def test_a_tasks_receipt_is_written_after_all_its_results(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=50, size=(160, 90))
    settings, store = StoreSettings(str(tmp_path / "store")), LocalStore(tmp_path / "store")
    encode = EncodeSettings(segment_s=Fraction(1, 4), chunk_s=Fraction(2), effort=Effort.DRAFT)
    request = Request(str(film), "film", LADDER, settings, ClusterSettings(workers=1), encode)
    plan = deciding.plan_for(request, deciding.inspect(str(film), settings))
    task = next(task for task in plan.tasks if task.kind is Kind.VIDEO)
    run = TaskRun(task, 1, "here", tmp_path, lambda: False, lambda _: None, lambda: None)
    receipt = layout.receipt("film", task.id)
    in_the_way = tmp_path / "store" / layout.track_segment("film", plan.tracks[task.renditions[-1]], 3)
    in_the_way.mkdir(parents=True)

    with pytest.raises(StorageError):
        perform(context_of(plan, settings), run)
    assert receipt not in {info.key for info in store.list("titles/")}

    in_the_way.rmdir()
    returned = perform(context_of(plan, settings), run)
    stored = {info.key: info.size_bytes for info in store.list("titles/")}
    assert receipt in stored
    for track in returned.tracks:
        for segment in track.segments:
            assert stored[layout.track_segment("film", track.track, segment.number)] == segment.size_bytes
    assert not list(tmp_path.glob("headend-*"))


def test_a_finished_run_whose_result_got_lost_is_not_repeated(
    smoke: tuple[TaskContext, EncodeTask], tmp_path: Path
) -> None:
    context, task = smoke
    context = replace(context, submission="this one")
    outputs = carry_out(context, task, tmp_path)
    broken = replace(task, argv=("ffmpeg", "-bogus"))
    assert carry_out(context, broken, tmp_path) == outputs
    for other in ("another one", ""):  # such as one that encodes finished parts again
        with pytest.raises(HeadendError):
            carry_out(replace(context, submission=other), broken, tmp_path)
