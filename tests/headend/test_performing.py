"""What a worker does with a task, in this process."""

from fractions import Fraction
from pathlib import Path

import pytest

from encoder.cluster import TaskRun
from headend import layout, pipeline
from headend.errors import StorageError
from headend.media import Effort, Kind
from headend.performing import order_of, perform
from headend.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.storage.local import LocalStore
from ladders import loading
from tests.support.masters import make_film


def test_a_task_has_a_receipt_when_all_of_its_results_are_stored_and_not_before(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=50, size=(160, 90))
    settings, store = StoreSettings(str(tmp_path / "store")), LocalStore(tmp_path / "store")
    encode = EncodeSettings(segment_s=Fraction(1, 4), chunk_s=Fraction(2), effort=Effort.DRAFT)
    request = pipeline.Request(str(film), "film", loading.load("smoke"), settings, ClusterSettings(workers=1), encode)
    plan = pipeline.plan_for(request, pipeline.inspect(str(film), settings))
    task = next(task for task in plan.tasks if task.kind is Kind.VIDEO)
    run = TaskRun(task, 1, "here", tmp_path, lambda: False, lambda _: None, lambda: None)
    receipt = layout.receipt("film", plan.release, task.id)
    in_the_way = tmp_path / "store" / layout.segment("film", plan.release, task.renditions[-1], 3)
    in_the_way.mkdir(parents=True)

    with pytest.raises(StorageError):
        perform(order_of(plan, settings), run)
    assert receipt not in {info.key for info in store.list("titles/")}

    in_the_way.rmdir()
    made = perform(order_of(plan, settings), run)
    stored = {info.key: info.size_bytes for info in store.list("titles/")}
    assert receipt in stored
    for track in made.tracks:
        for segment in track.segments:
            assert stored[layout.segment("film", plan.release, track.rendition, segment.number)] == segment.size_bytes
    assert not list(tmp_path.glob("headend-*"))
