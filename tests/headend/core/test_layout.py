"""Object paths, and titles' names that can't lead out of their folder."""

import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core import layout
from headend.core.errors import ConfigError

HOSTILE = (
    "", ".", "..", "../other", "a/b", "a\\b", "/etc/passwd", "a b", "a\n", "\n", "film\x00", "Film", "füm", "ﬁlm", "١٢",
    "-film", "film-", "-", "a" * 65, "film.json", "film%2f", "s3://bucket", "film?x", "film#x", "film\u200b",
)  # fmt: skip


@pytest.mark.parametrize("title", ["a", "7", "big-buck-bunny", "a--b", "2001", "a" * 64])
def test_slugs_are_accepted_as_titles(title: str) -> None:
    assert layout.check_title(title) == title


@pytest.mark.parametrize("title", HOSTILE)
def test_names_that_could_leave_the_folder_or_confuse_a_url_are_refused(title: str) -> None:
    with pytest.raises(ConfigError, match="use 1 to 64"):
        layout.check_title(title)


@given(st.text(max_size=70))
def test_a_valid_title_has_only_lower_case_letters_digits_and_dashes(title: str) -> None:
    try:
        layout.check_title(title)
    except ConfigError:
        return
    assert re.fullmatch("[a-z0-9-]{1,64}", title, re.ASCII)


def test_paths_have_their_documented_form() -> None:
    assert layout.current("film") == "titles/film/current.json"
    assert layout.published("film") == "published/film"
    assert layout.receipt("film", "t1") == "titles/film/receipts/t1.json"
    assert layout.attempt("film", "t1", 2) == "titles/film/attempts/t1-2.json"
    assert layout.multivariant("film", "r1") == "titles/film/releases/r1/multivariant.m3u8"
    assert layout.mpd("film", "r1") == "titles/film/releases/r1/manifest.mpd"
    assert layout.release_document("film", "r1") == "titles/film/releases/r1/release.json"
    assert layout.media_playlist("film", "r1", "aac-en-3f") == "titles/film/releases/r1/aac-en-3f.m3u8"
    assert layout.iframe_playlist("film", "r1", "avc-3f") == "titles/film/releases/r1/avc-3f.iframes.m3u8"
    assert layout.track_init("film", "avc-3f") == "titles/film/tracks/avc-3f/init.mp4"
    assert layout.track_segment("film", "avc-3f", 7) == "titles/film/tracks/avc-3f/7.m4s"
    assert layout.track_segment("film", "vtt-en-3f", 7) == "titles/film/tracks/vtt-en-3f/7.vtt"
    assert layout.track_segment("film", "wvtt-en-3f", 7) == "titles/film/tracks/wvtt-en-3f/7.m4s"
    assert layout.track_segment("film", "thumbnails-3f", 7) == "titles/film/tracks/thumbnails-3f/7.jpg"
    assert layout.track_index("film", "avc-3f") == "titles/film/tracks/avc-3f/index"


def test_a_release_names_tracks_relative_to_its_own_folder() -> None:
    named = posixpath.normpath(f"{layout.release_path('film', 'r1')}/{layout.track_uri('avc-3f')}/init.mp4")
    assert named == layout.track_init("film", "avc-3f")


def test_all_objects_of_a_title_except_its_marker_are_in_its_folder() -> None:
    paths = [
        layout.current("film"), layout.receipts("film"), layout.attempts("film"), layout.tracks("film"),
        layout.releases("film"), layout.holds("film"), layout.sweeps("film"),
    ]  # fmt: skip
    assert all(path.startswith(f"{layout.title_path('film')}/") for path in paths)
