import os
from pathlib import Path

import pytest

from encoder import sidecars
from headend.errors import MasterError
from tests.support.text import ass, srt, ttml, webvtt

LINES = [(500, 1500, "Grüße"), (1200, 2000, "two\nlines")]


@pytest.mark.parametrize(
    ("text", "codec"),
    [(srt(LINES), "srt"), (webvtt(LINES), "webvtt"), (ass(LINES), "ass"), (ttml(LINES), "ttml")],
    ids=["SRT", "WebVTT", "ASS", "TTML"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_sidecar_is_told_by_what_is_in_it_in_any_unicode(
    text: str, codec: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    sidecar, found = sidecars.look(str(path))
    assert found == codec
    assert sidecar.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (srt(LINES).encode("latin-1"), "not in UTF-8"),
        (os.urandom(2000), "not in UTF-8|binary|none of SRT"),
        (srt(LINES).encode() + b"\0\0", "binary"),
        (b"Chapter one.\n", "none of SRT"),
        (b"WEBVTT\n\n", "no cue"),
        (ttml([]).encode(), "no cue"),
        (b"", "is empty"),
        (b"<tt>\xff\xfe</tt>", "broken XML"),
        (b"\xff\xfea", "not in UTF-8"),
    ],
    ids=[
        "Latin-1", "noise", "zeros at the end", "prose", "WebVTT without a cue", "TTML without a cue", "nothing",
        "XML in no encoding", "half a character",
    ],
)  # fmt: skip
def test_what_is_no_text_of_a_film_is_refused_in_one_line_that_names_it(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "text.srt"
    path.write_bytes(data)
    with pytest.raises(MasterError, match=said) as refused:
        sidecars.look(str(path))
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message


def test_a_huge_file_is_refused_without_being_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(MasterError, match="104,857,600 bytes, too many"):
        sidecars.look(str(path))


def test_a_sidecar_that_has_changed_since_it_was_planned_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(srt(LINES))
    sidecar, _ = sidecars.look(str(path))
    path.write_text(srt([(500, 1500, "Gruesse"), *LINES[1:]]))
    with pytest.raises(MasterError, match="has changed"):
        sidecars.read(sidecar)
