"""Plans are pure: the same inputs give the same tracks, and a change of any relevant input gives others."""

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder import early_release, floors
from encoder.command import POSTERS, SHEETS
from encoder.conforming import conform
from encoder.picture.colour import complete_colour
from encoder.planning import Draft, Renditions, checked_picture
from encoder.reencoding import first_pass
from headend.core import codecs, plan_document
from headend.core.errors import ConfigError, MasterError
from headend.core.media import Codec, Colour, Effort, EncodePlan, Kind, Part, TextRole, TextTrack
from headend.core.settings import EncodeSettings
from tests.support.makers import (
    BT709,
    HDR10,
    make_audio_rendition,
    make_audio_track,
    make_frame_index,
    make_master,
    make_probe,
    make_video_rendition,
    make_video_track,
)

VIDEO = (
    make_video_rendition(default=True),
    make_video_rendition(id="avc-720p", width_px=1280, height_px=720),
    make_video_rendition(id="hevc-1080p", codec=Codec.HEVC),
    make_video_rendition(id="vp9-360p", codec=Codec.VP9, width_px=640, height_px=360),
    make_video_rendition(id="av1-540p", codec=Codec.AV1, width_px=960, height_px=540),
)
AUDIO = (
    make_audio_rendition(id="aac-en"),
    make_audio_rendition(id="opus-en", codec=Codec.OPUS),
    make_audio_rendition(id="aac-de", track_index=2, language="de", name="Deutsch", default=False),
)
PROBE = make_probe(frame_count=1000, audio=(make_audio_track(), make_audio_track(index=2, language="de")))
TEXT = (TextTrack(1, "srt", None, make_master("/films/de.srt"), "de", "de", TextRole.SUBTITLES),)
INPUTS: dict[str, Any] = {
    "title": "film",
    "probe": PROBE,
    "ladder": "studio",
    "video": VIDEO,
    "audio": AUDIO,
    "text": (),
    "decisions": ("a decision",),
    "settings": EncodeSettings(chunk_s=Fraction(12)),
    "tool": "ffmpeg version 9.0",
    "tool_digest": "00" * 32,
    "workers": 2,
}


def make_plan(**changes: Any) -> EncodePlan:
    inputs = INPUTS | changes
    arranging = {
        name: inputs.pop(name) for name in ("workers", "early", "slot_bytes", "missing_parts") if name in inputs
    }
    missing = arranging.pop("missing_parts", None)
    renditions = Renditions(*(inputs.pop(name) for name in ("ladder", "video", "audio", "text")))
    probe = inputs.pop("probe")
    draft = Draft(inputs.pop("title"), probe, conform(probe.video), renditions, **inputs)
    return draft.with_tasks(missing, **arranging)


def test_with_a_floor_each_task_measures_its_renditions_in_its_chunk() -> None:
    plan = make_plan(settings=EncodeSettings(chunk_s=Fraction(12), floor_vmaf=60))

    tasks = [task for task in plan.tasks if task.kind is Kind.VIDEO]
    assert tasks
    for task in tasks:
        measured = (
            {subject.rendition for check in task.floor.checks for subject in check.subjects} if task.floor else set()
        )
        assert measured == FLOORED & set(task.renditions)
        for check in task.floor.checks if task.floor else ():
            assert (check.first_frame, check.end_frame) == (task.chunk.first_frame, task.chunk.end_frame)
            assert task.memory_bytes >= check.memory_bytes
    assert any("60" in line for line in plan.decisions if line.startswith("floor"))
    assert plan_document.read(plan_document.write(plan)) == plan


@pytest.mark.parametrize(
    ("present", "steps"),
    [
        ({Codec.AVC}, "4"),
        ({Codec.VP9}, "8"),
        ({Codec.AVC, Codec.HEVC}, "4"),
        ({Codec.HEVC, Codec.VP9}, "4 (VP9: 8)"),
        (set(Codec), "4 (AV1 and VP9: 8)"),
    ],
)
def test_the_plan_states_the_floors_steps_for_the_titles_codecs(present: set[Codec], steps: str) -> None:
    assert f"lowered by {steps}, unless" in floors.describe(60, present)


def test_the_steps_of_a_floor_come_from_the_codecs_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tuple(replace(one, floor_step_crf=2.5) if one.codec is Codec.HEVC else one for one in codecs.VIDEO)
    monkeypatch.setattr("encoder.floors.VIDEO", changed)

    assert floors.steps(set(Codec)) == "4 (HEVC: 2.5; AV1 and VP9: 8)"


def test_the_guide_states_the_steps_of_a_floor() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "quality.md"

    assert f"lower by {floors.steps(set(Codec))}." in " ".join(guide.read_text().split())


def test_a_floor_for_a_title_without_sdr_is_reported_as_useless() -> None:
    assert "no effect" in floors.describe(60, ())


def test_the_same_inputs_make_the_same_plan() -> None:
    assert make_plan() == make_plan()


FULL_RANGE = replace(BT709, range="pc")
PICTURES = {*(r.id for r in VIDEO), "avc-720p-trick", "av1-540p-trick", "vp9-360p-trick", "thumbnails", "poster"}
FLOORED = {r.id for r in VIDEO} - {"avc-720p"}
"""The largest size of each codec."""
ENGLISH, GERMAN = {"aac-en", "opus-en"}, {"aac-de"}
ALL = PICTURES | ENGLISH | GERMAN


def changed(**changes: Any) -> set[str]:
    """Renditions that both plans have as different tracks."""
    before, after = make_plan().tracks, make_plan(**changes).tracks
    return {id for id in before.keys() & after.keys() if before[id] != after[id]}


@pytest.mark.parametrize(
    ("changes", "renditions"),
    [
        ({"probe": replace(PROBE, master=make_master(digest="sha256:01"))}, ALL),
        ({"probe": replace(PROBE, video=make_video_track(frame_count=1001))}, ALL),
        ({"probe": replace(PROBE, video=make_video_track(frame_count=1000, colour=FULL_RANGE))}, PICTURES),
        ({"probe": replace(PROBE, video=make_video_track(frame_count=1000, rotation_deg=180))}, PICTURES),
        ({"probe": replace(PROBE, audio=(make_audio_track(channels=6), PROBE.audio[1]))}, ENGLISH),
        ({"probe": replace(PROBE, audio=(make_audio_track(start_s=Fraction(1, 10)), PROBE.audio[1]))}, ENGLISH),
        ({"video": (replace(VIDEO[0], crf=22.0), *VIDEO[1:])}, {VIDEO[0].id}),
        ({"video": (replace(VIDEO[0], cap_bps=1), *VIDEO[1:])}, {VIDEO[0].id}),
        ({"audio": (replace(AUDIO[0], bit_rate_bps=96_000), *AUDIO[1:])}, {"aac-en"}),
        ({"settings": EncodeSettings(chunk_s=Fraction(12), segment_s=Fraction(4))}, ALL),
        ({"settings": EncodeSettings(chunk_s=Fraction(18))}, ALL),
        ({"settings": EncodeSettings(chunk_s=Fraction(12), loudness_lufs=-27)}, ENGLISH | GERMAN),
        ({"settings": EncodeSettings(chunk_s=Fraction(12), floor_vmaf=60)}, FLOORED),
        ({"tool_digest": "01" * 32}, ALL),
    ],
)  # fmt: skip
def test_changing_an_input_of_some_tracks_changes_exactly_these(changes: dict[str, Any], renditions: set[str]) -> None:
    assert changed(**changes) == renditions


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 40},
        {"early": True},
        {"decisions": ()},
        {"tool": "ffmpeg version 9.0, another build"},
        {"text": TEXT},
        {"video": VIDEO[:2]},
        {"video": (replace(VIDEO[0], default=False), replace(VIDEO[1], default=True), *VIDEO[2:])},
        {"audio": AUDIO[:-1]},
        {"audio": (replace(AUDIO[0], name="Original"), *AUDIO[1:])},
        {"audio": (replace(AUDIO[0], roles=("comment",)), *AUDIO[1:])},
        {"probe": replace(PROBE, master=replace(PROBE.master, url="/elsewhere/copy.mov", version="2"))},
        {"probe": replace(PROBE, master=replace(PROBE.master, url="s3://masters/copy.mov", version="2"))},
    ],
)  # fmt: skip
def test_changing_labels_changes_no_track(changes: dict[str, Any]) -> None:
    assert changed(**changes) == set()


def test_effort_makes_other_tracks() -> None:
    assert changed(settings=EncodeSettings(chunk_s=Fraction(12), effort=Effort.DRAFT)) >= {r.id for r in VIDEO}


def test_a_tracks_name_describes_it() -> None:
    for rendition, track in make_plan().tracks.items():
        assert re.fullmatch(re.escape(rendition) + "-[0-9a-f]{10}", track)


def test_a_tasks_id_depends_on_its_tracks_and_its_chunk() -> None:
    ids = {task.id for task in make_plan().tasks}

    assert len(ids) == len(make_plan().tasks)
    assert ids.isdisjoint(task.id for task in make_plan(tool_digest="01" * 32).tasks)
    assert ids == {task.id for task in make_plan(decisions=()).tasks}


# --- missing parts ------------------------------------------------------------------------------------------------


def test_only_missing_parts_are_made() -> None:
    whole = make_plan()
    missing = {("hevc-1080p", 1), ("avc-720p", 1), ("hevc-1080p", 2), ("thumbnails", 0), ("opus-en", 0), ("vtt-de", 0)}
    plan = make_plan(missing_parts=missing, text=TEXT)

    assert plan.tracks.items() >= whole.tracks.items()
    parts = [part for task in plan.tasks for part in task.parts]
    assert Counter(parts) == Counter(missing)
    for task in plan.tasks:
        assert [word for word in task.argv if word.endswith(".mp4")] == [
            f"{{scratch}}/{rendition}.mp4" for rendition in task.renditions if task.kind is not Kind.TEXT
        ]


@given(st.sets(st.sampled_from(make_plan(text=TEXT).parts)), st.integers(1, 30), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_missing_part_is_made_once(missing: set[Part], workers: int, early: bool) -> None:
    plan = make_plan(missing_parts=missing, text=TEXT, workers=workers, early=early)
    assert Counter(part for task in plan.tasks for part in task.parts) == Counter(missing)


def test_nothing_is_done_if_nothing_is_missing() -> None:
    assert make_plan(missing_parts=()).tasks == ()


def test_a_renditions_command_does_not_depend_on_its_group() -> None:
    alone = make_plan(missing_parts={("av1-540p", 1)}).tasks[0].argv
    beside = next(task.argv for task in make_plan(workers=1).tasks if ("av1-540p", 1) in task.parts)

    def options(argv: tuple[str, ...]) -> tuple[str, ...]:
        end = argv.index("{scratch}/av1-540p.mp4")
        return argv[len(argv) - argv[::-1].index("-map", len(argv) - end) + 1 : end]

    assert options(alone) == options(beside)
    assert "960:540" in alone[alone.index("-filter_complex") + 1].replace("zscale=", "")


@pytest.mark.parametrize("workers", [1, 2, 8, 100])
def test_every_rendition_has_every_frame_exactly_once(workers: int) -> None:
    plan = make_plan(workers=workers)
    chunks = plan.grid.chunks()
    pieces = Counter(
        (rendition, task.chunk) for task in plan.tasks if task.kind is Kind.VIDEO for rendition in task.renditions
    )

    assert pieces == Counter((rendition.id, chunk) for rendition in (*VIDEO, *plan.trick) for chunk in chunks)


def test_sound_is_one_task_for_each_programme_over_the_whole_title() -> None:
    tasks = [task for task in make_plan().tasks if task.kind is Kind.AUDIO]

    assert {task.renditions for task in tasks} == {("aac-en", "opus-en"), ("aac-de",)}
    assert {(task.chunk.first_frame, task.chunk.end_frame) for task in tasks} == {(0, 1000)}


def test_a_tasks_outputs_are_its_renditions() -> None:
    for task in make_plan().tasks:
        outputs = [word for word in task.argv if word.startswith("{scratch}/") and word.endswith((".mp4", ".jpg"))]
        sheets = [SHEETS] if task.sheets else []
        stills = [POSTERS] if task.posters else []
        assert sorted(outputs) == sorted(
            [*(f"{{scratch}}/{rendition}.mp4" for rendition in task.renditions), *sheets, *stills]
        )


def test_outputs_of_two_passes_have_the_same_places_in_both() -> None:
    tasks = [task for task in make_plan().tasks if task.kind is Kind.VIDEO]
    for task in tasks:
        logs = [
            [word for word in argv if word.startswith("{scratch}/") and not word.endswith((".mp4", ".jpg"))]
            for argv in (task.argv, first_pass(task.argv))
        ]
        assert logs[0] == logs[1]
        paths = [word for word in task.argv if word.startswith("{scratch}/") and word.endswith((".mp4", ".jpg"))]
        assert paths[: len(logs[0])] == [f"{log}.mp4" for log in logs[0]]
    assert any(first_pass(task.argv) for task in tasks)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("workers", [1, 100])
def test_one_of_the_first_tasks_of_each_chunk_makes_its_thumbnails(workers: int, early: bool) -> None:
    plan = make_plan(workers=workers, early=early)
    assert plan.thumbnails is not None
    beside = [task for task in plan.tasks if task.sheets]
    assert sorted(task.chunk.number for task in beside) == list(range(len(plan.grid.chunks())))
    trick = [rendition.id for rendition in plan.trick]
    assert trick == ["avc-720p-trick", "av1-540p-trick", "vp9-360p-trick"]
    assert all(("avc-720p-trick" in task.renditions) == bool(task.sheets) for task in plan.tasks)
    numbers = sorted(number for task in beside for number in task.sheets)
    assert tuple(numbers) == plan.thumbnails.sheet_numbers(0, plan.grid.frame_count)
    if early:
        part = early_release.early_part(plan)
        assert part is not None
        first = {id for task in beside for id in task.renditions}
        assert first <= part.tracks.keys()
        assert (part.trick, part.thumbnails) == (plan.trick[:1], plan.thumbnails)


def test_thumbnails_can_be_left_out() -> None:
    plan = make_plan(settings=EncodeSettings(chunk_s=Fraction(12), thumbnails=False))
    assert (plan.trick, plan.thumbnails, plan.poster) == ((), None, None)
    assert not any(task.sheets or task.posters for task in plan.tasks)


@pytest.mark.parametrize("workers", [1, 8])
def test_the_longest_task_goes_first(workers: int) -> None:
    costs = [task.cost for task in make_plan(workers=workers).tasks]

    assert costs == sorted(costs, reverse=True)
    assert costs[-1] > 0


def test_few_chunks_and_many_workers_make_finer_groups() -> None:
    chunks = len(make_plan().grid.chunks())
    video = [task for task in make_plan(workers=1).tasks if task.kind is Kind.VIDEO]
    finer = [task for task in make_plan(workers=100).tasks if task.kind is Kind.VIDEO]

    assert len(video) == chunks
    assert len(finer) > len(video)


def test_an_early_release_has_the_tracks_that_every_player_supports() -> None:
    whole = make_plan(early=True)
    first = early_release.early_part(whole)

    assert first is not None
    assert {rendition.codec for rendition in (*first.video, *first.audio)} == {Codec.AVC, Codec.AAC}
    urgent = [not first.tracks.keys().isdisjoint(task.renditions) for task in whole.tasks]
    assert urgent == sorted(urgent, reverse=True)
    assert first.tracks.items() < whole.tracks.items()
    assert whole.tracks == make_plan().tracks
    with pytest.raises(ConfigError, match="has no AAC: choose another ladder"):
        early_release.early_part(replace(whole, audio=AUDIO[1:2]))


def test_a_film_without_a_picture_is_refused() -> None:
    with pytest.raises(MasterError, match=r"/masters/film\.mov has no video stream"):
        checked_picture(replace(PROBE, video=None))
    with pytest.raises(MasterError, match="no video stream"):
        checked_picture(replace(PROBE, video=make_video_track(frames=make_frame_index(0))))


def test_a_segment_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="segments must last"):
        make_plan(settings=EncodeSettings(segment_s=Fraction(1, 1000)))


def test_channels_that_cannot_be_mixed_are_refused() -> None:
    with pytest.raises(MasterError, match="7 channels"):
        make_plan(probe=replace(PROBE, audio=(make_audio_track(channels=7, layout="7 channels"), PROBE.audio[1])))


# --- colour not stated by a master --------------------------------------------------------------------------------

UNKNOWN = Colour()


@pytest.mark.parametrize(
    ("size", "primaries", "transfer", "matrix"),
    [
        ((1920, 1080), "bt709", "bt709", "bt709"),
        ((1280, 720), "bt709", "bt709", "bt709"),
        ((1080, 1920), "bt709", "bt709", "bt709"),
        ((720, 576), "bt470bg", "smpte170m", "bt470bg"),
        ((720, 480), "smpte170m", "smpte170m", "smpte170m"),
        ((640, 360), "smpte170m", "smpte170m", "smpte170m"),
    ],
)
def test_untagged_colour_is_taken_by_the_number_of_lines(
    size: tuple[int, int], primaries: str, transfer: str, matrix: str
) -> None:
    colour, assumed = complete_colour(make_video_track(width_px=size[0], height_px=size[1], colour=UNKNOWN))

    assert colour == Colour(primaries, transfer, matrix, "tv", "left")
    assert assumed == (f"colour primaries, transfer, matrix not stated → taken as {primaries}",)


@pytest.mark.parametrize("colour", [BT709, HDR10])
def test_stated_colour_is_kept_without_a_decision(colour: Colour) -> None:
    assert complete_colour(make_video_track(colour=colour)) == (colour, ())


def test_only_missing_colour_values_are_filled_in() -> None:
    colour, assumed = complete_colour(make_video_track(colour=replace(BT709, transfer="unknown", range="pc")))

    assert colour == replace(BT709, range="pc")
    assert assumed == ("colour transfer not stated → taken as bt709",)


@pytest.mark.parametrize(
    ("stated", "matrix"), [(replace(BT709, matrix="gbr"), "bt709"), (replace(HDR10, matrix="gbr"), "bt2020nc")]
)
def test_an_rgb_master_gets_the_matrix_of_its_primaries(stated: Colour, matrix: str) -> None:
    colour, assumed = complete_colour(make_video_track(colour=stated, pixel_format="gbrp10le"))

    assert colour == replace(stated, matrix=matrix)
    assert assumed == (f"colour matrix not stated → taken as {matrix}",)


def test_assumed_colour_is_among_the_decisions() -> None:
    silent = make_video_track(frame_count=1000, colour=UNKNOWN)

    assert make_plan(probe=replace(PROBE, video=silent)).decisions[:2] == (
        "colour primaries, transfer, matrix not stated → taken as bt709",
        "a decision",
    )


def test_a_text_track_is_named_by_its_bytes_and_language() -> None:
    (text,) = TEXT

    def tracks(one: TextTrack) -> set[str]:
        return {track for id, track in make_plan(text=(one,)).tracks.items() if "vtt" in id}

    known = tracks(text)
    assert len(known) == 2
    assert tracks(replace(text, sidecar=make_master("/elsewhere/de.srt"))) == known
    assert tracks(replace(text, name="Deutsch")) == known
    assert known.isdisjoint(tracks(replace(text, sidecar=make_master("/films/de.srt", digest="sha256:other"))))
    assert known.isdisjoint(tracks(replace(text, language="fr")))


def test_an_early_release_has_all_text() -> None:
    whole = make_plan(text=TEXT, early=True)
    first = early_release.early_part(whole)

    assert first is not None
    assert [rendition.id for rendition in first.text] == ["vtt-de", "wvtt-de"]
    assert first.tracks.keys() >= {"vtt-de", "wvtt-de"}
