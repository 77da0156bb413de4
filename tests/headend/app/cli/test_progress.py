from dataclasses import replace
from fractions import Fraction
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from encoder.cluster import Done, Failed, TaskProgress
from headend.app.cli.progress import PLAIN_EVERY_S, Follower, figures, following
from headend.app.progress import Encoding
from headend.app.request import Event, Measured, Planned, Step
from headend.core.errors import ToolFailed
from headend.core.media import Effort, EncodePlan, EncodeTask, Kind, Receipt
from headend.core.timing import Chunk, plan_grid
from tests.support.makers import make_audio_rendition, make_master, make_video_rendition

GRID = plan_grid(Fraction(24), 48, segment_s=Fraction(2), chunk_s=Fraction(2))
FULL = make_video_rendition(id="avc-1080p-6000k")
HALF = replace(make_video_rendition(id="avc-360p-365k"), rate_divisor=2)
SOUND = make_audio_rendition(id="aac-2.0-128k-en")


def task(name: str, *renditions: str, cost: float = 1.0, kind: Kind = Kind.VIDEO) -> EncodeTask:
    return EncodeTask(name, kind, Chunk(0, 0, 100, 1), renditions, ("ffmpeg",), cost)


def planned(*tasks: EncodeTask, reused_parts: int = 0, reused_tracks: tuple[str, ...] = ()) -> Planned:
    plan = EncodePlan(
        title="film",
        master=make_master(),
        ladder="smoke",
        effort=Effort.DRAFT,
        tool="ffmpeg",
        grid=GRID,
        decisions=(),
        video=(FULL, HALF),
        audio=(SOUND,),
        tasks=tasks,
        chunks=GRID.chunks(),
        tracks={rendition.id: rendition.id for rendition in (FULL, HALF, SOUND)},
    )
    return Planned(plan, reused_parts, reused_tracks)


def done(name: str) -> Done:
    return Done(Receipt(name, 0, (), 1, "w", 1.0, 1.0, 1))


def failed(name: str, attempt: int, error: ToolFailed, *, last: bool) -> Failed:
    return Failed(task=name, attempt=attempt, worker="tcp://10.0.0.9:4000", error=error, last=last)


class TestProgress:
    def test_share_is_counted_in_cost_not_in_tasks(self) -> None:
        encoding = Encoding(planned(task("big", FULL.id, cost=9), task("small", HALF.id, cost=1)))
        encoding.note(done("small"))
        assert encoding.progress(1).share == pytest.approx(0.1)
        encoding.note(TaskProgress("big", 50))
        assert encoding.progress(1).share == pytest.approx(0.55)
        encoding.note(done("big"))
        assert (encoding.progress(1).share, encoding.progress(1).tasks_done) == (1, 2)

    @given(
        st.lists(
            st.tuples(st.floats(1e-3, 1e6), st.lists(st.integers(0, 100), max_size=6), st.booleans()),
            min_size=1,
            max_size=8,
        )
    )
    def test_a_job_is_complete_when_its_last_task_is_however_the_sum_was_rounded(
        self, runs: list[tuple[float, list[int], bool]]
    ) -> None:
        encoding = Encoding(planned(*(task(str(i), FULL.id, cost=cost) for i, (cost, _, _) in enumerate(runs))))
        for i, (_, frames, fails) in enumerate(runs):
            for count in frames:
                encoding.note(TaskProgress(str(i), count))
            if fails:
                encoding.note(failed(str(i), 1, ToolFailed("killed"), last=False))
            assert encoding.progress(1).tasks_done == i
            encoding.note(done(str(i)))
        assert (encoding.progress(1).share, encoding.left_cost, encoding.progress(1).left_s) == (1, 0, 0)

    def test_frames_are_those_of_all_renditions(self) -> None:
        encoding = Encoding(planned(task("a", FULL.id, HALF.id), task("b", HALF.id)))
        encoding.note(done("a"))
        assert encoding.progress(10).frames_per_s == pytest.approx(15)
        encoding.note(TaskProgress("b", 25))  # a half-rate rendition of 100 frames has 50
        assert encoding.progress(10).frames_per_s == pytest.approx(17.5)

    def test_the_time_left_follows_from_the_speed_so_far(self) -> None:
        encoding = Encoding(planned(task("new", FULL.id)))
        begun = encoding.progress(10)
        assert (begun.share, begun.tasks_done) == (0, 0)
        assert (begun.frames_per_s, begun.realtime, begun.left_s) == (0, 0, None)
        encoding.note(TaskProgress("new", 50))
        later = encoding.progress(10)
        assert later.left_s == pytest.approx(10)
        assert later.realtime == pytest.approx(0.5 * float(GRID.duration_s) / 10)

    def test_progress_without_tasks_is_complete(self) -> None:
        assert Encoding(planned()).progress(1).share == 1

    def test_a_failed_attempt_starts_again_and_counts_unless_it_was_the_last(self) -> None:
        encoding = Encoding(planned(task("a", FULL.id)))
        encoding.note(TaskProgress("a", 60))
        encoding.note(failed("a", 1, ToolFailed("x"), last=False))
        assert (encoding.progress(1).share, encoding.progress(1).retries) == (0, 1)
        encoding.note(failed("a", 2, ToolFailed("x"), last=True))
        assert encoding.progress(1).retries == 1

    def test_a_late_event_of_a_task_does_not_undo_it(self) -> None:
        encoding = Encoding(planned(task("a", FULL.id)))
        encoding.note(done("a"))
        encoding.note(TaskProgress("a", 60))
        assert encoding.progress(1).share == 1

    def test_sound_has_no_frames(self) -> None:
        encoding = Encoding(planned(task("a", SOUND.id, kind=Kind.AUDIO)))
        encoding.note(TaskProgress("a", 60))
        assert encoding.progress(1).share == 0
        encoding.note(done("a"))
        assert (encoding.progress(1).share, encoding.progress(1).frames_per_s) == (1, 0)


class TestPlainLines:
    @staticmethod
    def follow(events: list[tuple[float, Event]]) -> list[str]:
        now, lines = [0.0], list[str]()
        follower = Follower(lines.append, plain=True, clock=lambda: now[0])
        for at, event in events:
            now[0] = at
            follower.note(event)
        return lines

    def test_many_events_make_few_lines(self) -> None:
        many: list[tuple[float, Event]] = [(1 + n / 100, TaskProgress("a", n // 10)) for n in range(1000)]
        lines = self.follow([(0, Step("reading the master")), (1, planned(task("a", FULL.id))), *many])
        assert lines[:2] == ["reading the master", "3 renditions of 48 frames in 1 task"]
        assert len(lines) == 2 + int(10 / PLAIN_EVERY_S) - 1
        assert lines[2].startswith("encoding: 50%, 0 of 1 task, 10 frames/s, ")

    def test_each_failed_attempt_is_reported_at_once_and_without_secrets(self) -> None:
        error = ToolFailed("\x1b[2Jcan't open https://s3/film.mov?X-Amz-Signature=abc")
        lines = self.follow([(0, planned(task("a", FULL.id, HALF.id))), (0, failed("a", 1, error, last=False))])
        assert lines[1] == (
            "attempt 1 of 3 at chunk 0 of avc-1080p-6000k and 1 more failed, trying again: "
            "�[2Jcan't open https://s3/film.mov?…"
        )

    def test_measuring_takes_its_time_from_the_end_of_encoding(self) -> None:
        now, lines = [0.0], list[str]()
        follower = Follower(lines.append, plain=True, clock=lambda: now[0])
        follower.note(planned(task("a", FULL.id)))
        for at, event in ((3600.0, done("a")), (3601.0, Measured(0, 4)), (3610.0, Measured(1, 4))):
            now[0] = at
            follower.note(event)
        now[0] = 3661.0
        follower.tick()
        assert lines[-1] == "measuring quality: 1 of 4 tasks: 0:01:00 so far"

    def test_a_job_that_has_nothing_to_encode_shows_no_speed_of_encoding(self) -> None:
        now, lines = [0.0], list[str]()
        follower = Follower(lines.append, plain=True, clock=lambda: now[0])
        follower.note(planned(reused_parts=3))
        now[0] = 100.0
        follower.tick()
        assert lines[1:] == ["measuring quality: 0:01:40 so far"]


def test_retries_are_shown_only_if_there_are_some() -> None:
    encoding = Encoding(planned(task("a", FULL.id), task("b", FULL.id)))
    assert figures(encoding.progress(10)).endswith("time left unknown")
    encoding.note(failed("a", 1, ToolFailed("x"), last=False))
    assert figures(encoding.progress(10)).endswith("1 retry")
    encoding.note(failed("a", 2, ToolFailed("x"), last=False))
    assert figures(encoding.progress(10)).endswith("2 retries")


def test_a_terminal_shows_a_bar_and_is_left_clean() -> None:
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, force_interactive=True, width=100, highlight=False)
    with following(terminal) as note:
        note(Step("reading the master"))
        note(planned(task("a", FULL.id), reused_parts=3, reused_tracks=(HALF.id, SOUND.id)))
        note(TaskProgress("a", 50))
    drawn = screen.getvalue()
    assert "3 renditions of 48 frames in 1 task; 2 of 3 tracks reused, " in drawn
    assert "encoding" in drawn and "50%" in drawn and "━" in drawn
    assert drawn.endswith("\x1b[2K")  # the last drawing is erased
