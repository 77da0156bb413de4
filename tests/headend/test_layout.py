"""Every object path is spelled once, and no title's name leads out of its folder."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend import layout
from headend.errors import ConfigError

HOSTILE = (
    "", ".", "..", "../other", "a/b", "a\\b", "/etc/passwd", "a b", "a\n", "\n", "film\x00", "Film", "füm", "ﬁlm", "١٢",
    "-film", "film-", "-", "a" * 65, "film.json", "film%2f", "s3://bucket", "film?x", "film#x", "film\u200b",
)  # fmt: skip


@pytest.mark.parametrize("title", ["a", "7", "big-buck-bunny", "a--b", "2001", "a" * 64])
def test_a_slug_is_a_title(title: str) -> None:
    assert layout.check_title(title) == title


@pytest.mark.parametrize("title", HOSTILE)
def test_what_could_leave_the_folder_or_confuse_a_url_is_no_title(title: str) -> None:
    with pytest.raises(ConfigError, match="use 1 to 64"):
        layout.check_title(title)


@given(st.text(max_size=70))
def test_a_title_that_passes_holds_nothing_but_small_letters_digits_and_dashes(title: str) -> None:
    try:
        layout.check_title(title)
    except ConfigError:
        return
    assert re.fullmatch("[a-z0-9-]{1,64}", title, re.ASCII)


def test_paths_are_these() -> None:
    assert layout.current("film") == "titles/film/current.json"
    assert layout.plan("film", "r1") == "titles/film/r1/plan.json"
    assert layout.receipt("film", "r1", "t1") == "titles/film/r1/receipts/t1.json"
    assert layout.attempt("film", "r1", "t1", 2) == "titles/film/r1/attempts/t1-2.json"
    assert layout.multivariant("film", "r1") == "titles/film/r1/multivariant.m3u8"
    assert layout.mpd("film", "r1") == "titles/film/r1/manifest.mpd"
    assert layout.release_document("film", "r1") == "titles/film/r1/release.json"
    assert layout.init("film", "r1", "avc-1080p-6000k") == "titles/film/r1/avc-1080p-6000k/init.mp4"
    assert layout.segment("film", "r1", "avc-1080p-6000k", 7) == "titles/film/r1/avc-1080p-6000k/7.m4s"
    assert layout.media_playlist("film", "r1", "aac-2.0-128k-en") == "titles/film/r1/aac-2.0-128k-en/media.m3u8"
    assert layout.iframe_playlist("film", "r1", "avc-1080p-6000k") == "titles/film/r1/avc-1080p-6000k/iframes.m3u8"


def test_everything_but_the_pointer_lies_under_its_release() -> None:
    paths = [layout.receipts("film", "r1"), layout.attempts("film", "r1"), layout.rendition_path("film", "r1", "avc")]
    assert all(path.startswith(f"{layout.release_path('film', 'r1')}/") for path in paths)
    assert not layout.current("film").startswith(layout.release_path("film", "r1"))
