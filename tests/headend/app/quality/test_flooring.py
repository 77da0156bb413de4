"""A chunk below the floor is encoded once more, unless its worst segment is at its cap."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from encoder import encoding
from headend.app.quality import flooring
from headend.core.media import Codec, Effort, EncodeTask
from headend.core.media.quality import (
    HD,
    Floor,
    Lift,
    MasterSamples,
    Measurement,
    MeasureTask,
    SegmentQuality,
    Subject,
    TrackQuality,
)
from tests.support.encodes import Film, commands_of, probe_film, task_of
from tests.support.makers import make_video_rendition
from tests.support.masters import make_film

LOW, HIGH = "low", "high"
RENDITIONS = tuple(
    make_video_rendition(id=id, codec=Codec.AVC, width_px=160, height_px=90, crf=30.0, level="1.2")
    for id in (LOW, HIGH)
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return probe_film(make_film(tmp_path_factory.mktemp("flooring") / "film.mp4", frame_count=10, size=(160, 90)))


def task_with(film: Film, floor_vmaf: float) -> EncodeTask:
    (chunk,) = film.chunks
    argv = commands_of(film, Effort.DRAFT).encode(chunk, RENDITIONS)
    check = MeasureTask(
        id="measure", title="film", segments=(1, 2), first_frame=0, end_frame=10, opening=(), frames="",
        master_filters="null", rendition_filters="null", tone_mapped=False,
        subjects=tuple(Subject(r.id, f"{r.id}-track", 160, 90, 8) for r in RENDITIONS),
        viewing=HD, every=3, cost=1.0, memory_bytes=1,
    )  # fmt: skip
    return replace(task_of(argv, [r.id for r in RENDITIONS], chunk), floor=Floor(floor_vmaf, (check,)))


class Worker:
    """Encodes by writing the number of the attempt into a file, and scores by that number."""

    def __init__(self, scores: Mapping[str, tuple[float, ...]], at_cap: tuple[int, ...] = ()) -> None:
        self.scores, self.capped, self.tasks = scores, at_cap, list[EncodeTask]()

    def encode(self, task: EncodeTask, folder: Path) -> None:
        self.tasks.append(task)
        for rendition in task.renditions:
            encoding.output(folder, rendition).write_text("1")

    def measure(self, check: MeasureTask, paths: Mapping[str, Path]) -> Measurement:
        tracks = []
        for subject in check.subjects:
            worst = self.scores[subject.rendition][int(paths[subject.rendition].read_text())]
            segments = tuple(SegmentQuality(n, mean, mean, 0, (mean,), 5) for n, mean in ((1, 99.0), (2, worst)))
            tracks.append(TrackQuality(subject.track, segments))
        return Measurement(
            check.id, check.segments, HD.model, 3, False, tuple(tracks), MasterSamples(), 1, "here", 2.0, 2.0
        )

    def at_cap(self, rendition: str, path: Path) -> tuple[int, ...]:
        assert path.exists() and path.stem == rendition
        return self.capped

    def lift(self, task: EncodeTask, scratch: Path) -> dict[str, TrackQuality]:
        for rendition in (LOW, HIGH):
            encoding.output(scratch, rendition).write_text("0")
        found = flooring.lift(task, scratch, encode=self.encode, measure=self.measure, at_cap=self.at_cap)
        return {track.track.removesuffix("-track"): track for one in found for track in one.tracks}


def test_only_the_rendition_below_the_floor_is_encoded_again_and_once(film: Film, tmp_path: Path) -> None:
    worker = Worker({LOW: (50.0, 58.0), HIGH: (80.0,)})

    found = worker.lift(task_with(film, 60), tmp_path)

    (again,) = worker.tasks
    assert again.renditions == (LOW,)
    assert "26.0" in again.argv
    assert found[LOW].lifts == (Lift(0, 2, 50.0, 58.0),)
    assert found[HIGH].lifts == ()
    assert encoding.output(tmp_path, LOW).read_text() == "1"
    assert encoding.output(tmp_path, HIGH).read_text() == "0"


def test_an_encode_that_looks_no_better_is_dropped(film: Film, tmp_path: Path) -> None:
    worker = Worker({LOW: (50.0, 49.0), HIGH: (80.0,)})

    found = worker.lift(task_with(film, 60), tmp_path)

    assert found[LOW].lifts == ()
    assert min(segment.mean for segment in found[LOW].segments) == 50.0
    assert encoding.output(tmp_path, LOW).read_text() == "0"


def test_a_segment_at_its_cap_is_left_alone(film: Film, tmp_path: Path) -> None:
    worker = Worker({LOW: (50.0, 58.0), HIGH: (80.0,)}, at_cap=(2,))

    assert worker.lift(task_with(film, 60), tmp_path)[LOW].lifts == ()
    assert worker.tasks == []


def test_chunks_above_the_floor_are_only_measured(film: Film, tmp_path: Path) -> None:
    worker = Worker({LOW: (60.0,), HIGH: (80.0,)})

    assert set(worker.lift(task_with(film, 60), tmp_path)) == {LOW, HIGH}
    assert worker.tasks == []
