"""Commands change a published title: nothing is encoded again, and no segment changes its address."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from headend.app.cli import run
from headend.core.holds import held
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from origin.serving import running
from packager.conformance import verify
from packager.reading import current_presentation, current_release
from tests.headend.app.cli.conftest import Submitted
from tests.origin.releases import ask
from tests.support.waiting import wait_until

HLS_PICTURES = [
    f"{codec}-{size}"
    for codec, sizes in {
        "avc": ("180p-240k", "90p-60k"),
        "hevc": ("180p-144k", "90p-36k"),
        "av1": ("180p-144k", "90p-36k"),
    }.items()
    for size in sizes
]
HLS_SOUND = ["aac-2.0-96k-en", "ac3-2.0-192k-en", "eac3-2.0-128k-en"]
"""Only VP9 and Opus are left, which HLS does not list."""
GERMAN = "1\n00:00:00,500 --> 00:00:01,500\nGuten Tag\n"


@pytest.fixture
def store(submitted: Submitted, tmp_path: Path) -> Path:
    return Path(shutil.copytree(submitted.store, tmp_path / "store"))


def json_of(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert run([*map(str, words), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def media_of(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.glob("titles/film/tracks/*/*") if p.is_file()}


def test_changing_subtitles_labels_and_order_writes_no_segment(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = tmp_path / "film.de.srt"
    sidecar.write_text(GERMAN)
    before, first = media_of(store), current_release(open_store(StoreSettings(str(store))), "film")
    edited = json_of(
        capsys,
        *("edit", "film", "--store", store, "--yes"),
        *("--add-subtitles", f"{sidecar}:de:sdh:Deutsch", "--relabel", "aac-2.0-96k-en:fr:dub:Français"),
        *("--default", "avc-90p-60k", "--order", "opus-2.0-64k-en", "--remove", "ac3-2.0-192k-en"),
    )
    opened = open_store(StoreSettings(str(store)))
    now = current_presentation(opened, "film")
    assert now.release == edited["release"] != first
    assert [track.rendition.id for track in now.text] == ["vtt-de-sdh", "wvtt-de-sdh"]
    assert {track.rendition.name for track in now.audio} == {"Français"}
    assert {track.rendition.language for track in now.audio} == {"fr"}
    assert now.audio[0].rendition.id == "opus-2.0-64k-en"
    assert "ac3-2.0-192k-en" not in {track.rendition.id for track in now.audio}
    assert [track.rendition.id for track in now.video if track.rendition.default] == ["avc-90p-60k"]
    after = media_of(store)
    assert before.items() <= after.items()
    assert all("vtt-de" in name for name in after.keys() - before.keys())
    assert verify(opened, "film").findings == ()
    assert run(["verify", "film", "--store", str(store), "--deep"]) == 0

    again = ["edit", "film", "--store", str(store), "--yes", "--add-subtitles", f"{sidecar}:de:subtitles:Deutsch"]
    assert run(again) == 2
    assert "'film' has that text already: vtt-de-sdh; change its role or name with --relabel" in capsys.readouterr().err

    assert run(["publish", "film", "--release", first, "--store", str(store), "--yes"]) == 0
    assert current_release(opened, "film") == first
    rows = json_of(capsys, "releases", "film", "--store", store)["releases"]
    assert isinstance(rows, list)
    assert {row["release"]: row["is_current"] for row in rows} == {first: True, now.release: False}


def test_players_are_redirected_to_the_current_release_and_keep_the_one_they_play(store: Path) -> None:
    def leads_to(expected: str) -> None:
        wait_until(lambda: ask(url, "/film/multivariant.m3u8").headers.get("location") == expected)

    def change(*words: str) -> str:
        assert run([*words, "--store", str(store), "--yes"]) == 0
        return current_release(open_store(StoreSettings(str(store))), "film")

    first = current_release(open_store(StoreSettings(str(store))), "film")
    segment = next(f"/film/tracks/{path.parent.name}/{path.name}" for path in store.glob("titles/film/tracks/*/1.m4s"))
    with running(StoreSettings(str(store))) as url:
        files = [f"/film/releases/{first}/multivariant.m3u8", f"/film/releases/{first}/manifest.mpd", segment]
        leads_to(f"releases/{first}/multivariant.m3u8")
        before = [ask(url, path) for path in files]
        assert {each.status for each in before} == {200}

        second = change("edit", "film", "--remove", "vp9-90p-36k")
        assert second != first
        leads_to(f"releases/{second}/multivariant.m3u8")
        assert change("publish", "film", "--release", first) == first
        leads_to(f"releases/{first}/multivariant.m3u8")
        after = [ask(url, path) for path in files]
        assert [(each.body, each.headers["etag"]) for each in after] == [
            (each.body, each.headers["etag"]) for each in before
        ]

        assert run(["unpublish", "film", "--store", str(store), "--yes"]) == 0
        wait_until(lambda: ask(url, "/film/multivariant.m3u8").status == 404)
        assert ask(url, segment).status == 200  # its viewers can play it to the end


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["edit", "film", "--remove", "nothing"], "'film' has no track 'nothing'"),
        (["edit", "film"], "no change is given"),
        (["edit", "film", "--relabel", "avc-90p-60k:fr"], "is a picture; only sound and text have labels"),
        (["edit", "film", "--relabel", "aac-2.0-96k-en::boss"], "is not a role of sound"),
        (["edit", "film", "--add-subtitles", "3:de"], "takes files"),
        (["edit", "film", "--add-audio", "film.wav"], "is not FILE:LANG[:ROLE[:NAME]]"),
        (["edit", "film", "--add-audio", "film.wav:fr:boss"], "'boss' is not a role"),
        (["edit", "film", "--add-audio", "film.wav:english"], "--add-audio: 'english' is not a language tag"),
        (["edit", "film", "--add-audio", "a.wav:fr", "--add-audio", "a.wav:de"], "a file is given twice"),
        (["edit", "film", "--add-subtitles", "film.srt:xx"], "--add-subtitles: 'xx' is not a language tag"),
        (["edit", "film", "--relabel", "aac-2.0-96k-en:xx-nothing"], "--relabel: 'xx-nothing' is not a language tag"),
        (["edit", "other", "--remove", "x"], "'other' is not published"),
        (["publish", "film", "--release", "nothing"], "has no release 'nothing'"),
        (["delete", "film", "--release", "nothing"], "has no release 'nothing'"),
        (["repackage"], "name the titles to repackage"),
        (["gc", "--grace", "soon"], "is not a duration"),
        (["gc", "--grace", "-1"], "is not a duration"),
        (["gc", "--keep", "-1"], "is not in the range"),
        (["gc", "nothing"], "there is no title 'nothing'"),
        (["delete", "film", "--release", ""], "'' is not the id of a release"),
        (["edit", "film", "--default", "avc-90p-60k", "--default", "avc-180p-240k"], "two tracks of one kind"),
        (["edit", "film", "--default", "thumbnails"], "can't be a default"),
        (["edit", "film", "--remove", "avc-90p-60k", "--default", "avc-90p-60k"], "has no track 'avc-90p-60k'"),
        (["edit", "film", "--order", "avc-90p-60k,nothing"], "has no track 'nothing'"),
        (["edit", "film", *(word for name in HLS_PICTURES for word in ("--remove", name))], "no picture left for HLS"),
        (["edit", "film", *(word for name in HLS_SOUND for word in ("--remove", name))], "no sound left for HLS"),
    ],
)
def test_impossible_commands_are_reported_in_one_line(
    words: list[str], message: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--store", str(store), "--yes"]) == 2
    output = capsys.readouterr().err
    assert message in output and output.count("\n") == 1


def test_nothing_changes_without_confirmation_or_in_a_dry_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {str(p): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    for words in (
        ["edit", "film", "--remove", "vp9-90p-36k"],
        ["unpublish", "film"],
        ["delete", "film"],
        ["repackage", "film"],
    ):
        assert run([*words, "--store", str(store), "--dry-run"]) == 0
        assert run([*words, "--store", str(store)]) == 2
        assert "add --yes" in capsys.readouterr().err
    assert {str(p): p.read_bytes() for p in store.rglob("*") if p.is_file()} == before


def test_a_deleted_title_is_removed_when_its_grace_is_over(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["delete", "film", "--store", str(store), "--yes"]) == 0
    assert json_of(capsys, "gc", "--store", store, "--yes")["titles"] == []
    found = json_of(capsys, "gc", "--store", store, "--grace", "0s", "--keep", "0", "--dry-run")
    assert (store / "titles/film/tracks").exists() and isinstance(found["bytes"], int) and found["bytes"] > 100_000
    assert json_of(capsys, "gc", "--store", store, "--grace", "0s", "--keep", "0", "--yes")["bytes"] == found["bytes"]
    assert not (store / "titles/film").exists()


def test_gc_says_what_it_keeps_for_a_command_that_runs_or_was_killed(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["delete", "film", "--store", str(store), "--yes"]) == 0
    words = ["gc", "--store", str(store), "--grace", "0s", "--keep", "0", "--dry-run"]
    tracks = [path.name for path in store.glob("titles/film/tracks/*")]
    with held(open_store(StoreSettings(str(store))), "film", tracks=tracks, reason="submit"):
        kept: Any = json_of(capsys, *words)["held"]
        assert [(row["title"], row["reason"]) for row in kept] == [("film", "submit")]
        assert run(words) == 0
    assert "film: kept what 'submit' needs, which began at 20" in capsys.readouterr().out
    assert json_of(capsys, *words)["held"] == []


def test_a_damaged_title_does_not_stop_gc_of_others(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = Path(shutil.copytree(store / "titles/film", store / "titles/damaged"))
    next(damaged.glob("releases/*/release.json")).unlink()
    for path in damaged.rglob("*"):
        os.utime(path, (0, 0))
    assert run(["delete", "film", "--store", str(store), "--yes"]) == 0
    capsys.readouterr()
    assert run(["gc", "--store", str(store), "--grace", "0s", "--keep", "0", "--yes", "--json"]) == 5
    output = capsys.readouterr()
    assert [row["title"] for row in json.loads(output.out)["titles"]] == ["film"]
    assert "headend: damaged: titles/damaged/releases/" in output.err
    assert "1 of 2 titles failed; see the lines above" in output.err
    assert damaged.exists() and not (store / "titles/film").exists()
    assert run(["gc", "damaged", "--store", str(store), "--yes"]) == 5
    assert "release.json is missing, so the tracks that" in capsys.readouterr().err
