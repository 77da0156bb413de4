"""Commands that only read: probe, ladder, titles, show, verify."""

import json
import shutil
from pathlib import Path

import pytest

from headend.app import comparison
from headend.app.cli import run
from headend.core import layout
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from ladders.loading import presets
from tests.headend.app.cli.conftest import Submitted


def test_probe_counts_frames_instead_of_listing_them(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", str(submitted.master), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["video"]["frame_count"], output["video"]["frame_rate"]) == (50, "25/1")
    assert output["video"]["keyframes"][0] == 0
    assert "pts_ticks" not in json.dumps(output)
    assert output["audio"][0]["language"] == "en"


def test_probe_prints_rate_colour_and_tracks(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", str(submitted.master)]) == 0
    output = capsys.readouterr().out
    assert "50 at 25 frames/s" in output and "320x180" in output and "2 (stereo)" in output
    assert "\x1b" not in output


def test_ladders_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ladder", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["ladders"]
    assert [ladder["name"] for ladder in listed] == list(presets())
    for ladder in listed:
        assert run(["ladder", "show", ladder["name"], "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (len(shown["video"]), len(shown["audio"])) == (ladder["video_rungs"], ladder["audio_rungs"])
    assert run(["ladder", "list"]) == run(["ladder", "show", "smoke"]) == 0
    assert "avc-180p-240k *" in capsys.readouterr().out


def test_titles_and_show_list_what_submit_has_made(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["titles", "--store", str(submitted.store), "--long", "--json"]) == 0
    titles = json.loads(capsys.readouterr().out)["titles"]
    assert [(title["title"], title["release"]) for title in titles] == [("film", submitted.output["release"])]
    assert run(["show", "film", "--store", str(submitted.store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out).items() <= submitted.output.items()
    assert run(["show", "film", "--store", str(submitted.store)]) == 0
    output = capsys.readouterr().out
    assert "/film/multivariant.m3u8" in output
    assert all(rendition["id"] in output for rendition in submitted.output["renditions"])


def test_an_environment_variable_may_set_the_store(
    submitted: Submitted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADEND_STORE", str(submitted.store))
    assert run(["titles"]) == 0
    assert "film" in capsys.readouterr().out


def test_titles_of_an_empty_store_explains_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert run(["titles", "--store", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"titles": [], "after": None}
    assert run(["titles", "--store", str(tmp_path / "new")]) == 0
    assert "headend submit MASTER --title SLUG" in capsys.readouterr().out
    assert list((tmp_path / "new").iterdir()) == []


def test_an_unknown_title_is_a_usage_error(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("show", "verify"):
        assert run([name, "other", "--store", str(submitted.store)]) == 2
        assert "'other' is not published" in capsys.readouterr().err


def test_a_valid_release_verifies(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "film", "--store", str(submitted.store), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["sound"], output["findings"]) == (True, [])
    assert output["frames"] == 50 * 8 + 3 * 3  # and for trick play, one per GOP


def test_a_comparison_with_the_master_counts_its_segments(submitted: Submitted) -> None:
    store, counts = open_store(StoreSettings(str(submitted.store))), list[tuple[int, int]]()
    comparison.compare(
        store, "film", submitted.output["release"], None, deep=False, on_progress=lambda *count: counts.append(count)
    )
    total = counts[0][1]
    assert total > 1 and counts == [(done, total) for done in range(total + 1)]


def test_verify_goes_through_a_whole_library_and_collects_what_is_wrong(
    submitted: Submitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copytree(submitted.store, tmp_path / "store"))
    shutil.copytree(store / "titles/film", store / "titles/copied")
    for title in ("copied", "gone"):
        (store / layout.published(title)).touch()
    assert run(["verify", "--all", "--store", str(store), "--json"]) == 2  # that of the title without a release
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [(row["title"], row["sound"]) for row in found["titles"]] == [("copied", False), ("film", True)]
    assert found["sound"] is False
    assert "headend: gone: 'gone' is not published" in err
    assert err.endswith("headend: error: 1 of 3 titles failed; see the lines above\n")

    assert run(["verify", "copied", "copied", "--store", str(store)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2  # the same title twice is one, and needs no summary
    shutil.rmtree(store / "titles/film/releases")
    assert run(["verify", "copied", "film", "--store", str(store)]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "1 title verified: 1 fault in 1 title"


def test_verify_is_told_what_to_verify(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["film", "--all"], ["film", "other", "--release", "0"], ["--all", "--release", "0"]):
        assert run(["verify", *words, "--store", str(submitted.store)]) == 2
    assert capsys.readouterr().err.count("give --all") == 2


def test_a_release_that_is_not_as_planned_ends_verify_with_the_rendition_named(
    submitted: Submitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(submitted.store, tmp_path / "store")
    assert run(["verify", "film", "--store", str(store), "--deep"]) == 0
    document = store / "titles/film/releases" / submitted.output["release"] / "release.json"
    output = json.loads(document.read_bytes())
    output["body"]["presentation"]["light"]["colour"]["matrix"] = "bt2020nc"
    document.write_text(json.dumps(output))
    capsys.readouterr()
    assert run(["verify", "film", "--store", str(store)]) == 1
    faults = [line for line in capsys.readouterr().out.splitlines() if "as planned" in line]
    videos = {rendition["track"] for rendition in submitted.output["renditions"] if rendition["kind"] == "video"}
    assert {line.split("/")[3] for line in faults} >= videos
    assert all("matrix is smpte170m, not bt2020nc as planned" in line for line in faults)


def test_a_damaged_release_ends_verify_with_status_1_and_a_precise_list(
    submitted: Submitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(submitted.store, tmp_path / "store")
    segment = next(store.glob("titles/film/tracks/avc-180p-240k-*/2.m4s"))
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    assert run(["verify", "film", "--store", str(store)]) == 1
    out, err = capsys.readouterr()
    assert str(segment.relative_to(store)) in out and "fault" in out
    assert "error" not in err
    assert run(["verify", "film", "--store", str(store), "--json"]) == 1
    output = json.loads(capsys.readouterr().out)
    assert not output["sound"]
    assert {finding["object"] for finding in output["findings"]} == {str(segment.relative_to(store))}


def test_show_prints_each_programmes_loudness_before_and_after(
    submitted: Submitted, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = [rendition for rendition in submitted.output["renditions"] if rendition["kind"] == "audio"]
    assert {sound["loudness"]["result_lufs"] for sound in sounds} == {-24.0}
    assert all(
        rendition["loudness"] is None for rendition in submitted.output["renditions"] if rendition["kind"] == "video"
    )
    assert run(["show", "film", "--store", str(submitted.store)]) == 0
    heard = sounds[0]["loudness"]
    output = capsys.readouterr().out
    assert f"{heard['integrated_lufs']:.1f}" in output and f"{heard['gain_db']:+.1f}" in output and "-24.0" in output


def test_a_fitted_ladder_and_a_plan_agree(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--audio", "1:fr:dub", "--loudness", "-23", "--crop", "300:180:10:0", "--json"]
    assert run(["plan", str(submitted.master), "--title", "film", "--ladder", "smoke", "--workers", "1", *chosen]) == 0
    plan = json.loads(capsys.readouterr().out)["body"]
    assert run(["ladder", "fit", "smoke", str(submitted.master), *chosen]) == 0
    fitted = json.loads(capsys.readouterr().out)
    assert (fitted["video"], fitted["audio"]) == (plan["video"], plan["audio"])
    # The plan also lists thumbnails and trick play.
    assert fitted["decisions"] == plan["decisions"][: len(fitted["decisions"])]
    assert "cropped to 300x180 at 10,0, as requested" in plan["decisions"]
    assert (plan["video"][0]["width_px"], plan["audio"][0]["language"]) == (300, "fr")


@pytest.mark.parametrize("crop", ["left", "320:180", "0:180:0:0", "319:180:0:0", "320:180:0:2", "-2:180:0:0"])
def test_a_crop_outside_the_picture_is_a_usage_error(
    crop: str, submitted: Submitted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ladder", "fit", "smoke", str(submitted.master), "--crop", crop]) == 2
    assert "width, height" in capsys.readouterr().err


def test_a_plan_lists_decisions_about_sound(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", str(submitted.master), "--title", "film", "--ladder", "smoke", "--workers", "1"]
    assert run([*plan, "--audio", "1:fr:commentary:Le réalisateur", "--loudness", "-27"]) == 0
    output = capsys.readouterr().out
    assert "audio 1 is commentary" in output and "loudness → -27 LUFS" in output
    assert run([*plan, "--loudness", "off", "--json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["body"]["decisions"]
    assert "loudness is measured and not changed" in decisions
    assert run([*plan, "--audio", "1:fr", "--audio", "4"]) == 2
    assert "the master has no audio stream 4; it has 1 (en, stereo, aac)" in capsys.readouterr().err
