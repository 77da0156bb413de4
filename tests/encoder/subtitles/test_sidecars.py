import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.subtitles import sidecars
from headend.core.errors import MasterError
from tests.support.text import ass, srt, ttml, webvtt

LINES = [(500, 1500, "Grüße"), (1200, 2000, "two\nlines")]


@pytest.mark.parametrize(
    ("text", "codec"),
    [(srt(LINES), "srt"), (webvtt(LINES), "webvtt"), (ass(LINES), "ass"), (ttml(LINES), "ttml")],
    ids=["SRT", "WebVTT", "ASS", "TTML"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_sidecars_format_is_detected_from_its_content_in_any_unicode_encoding(
    text: str, codec: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    found = sidecars.identify(str(path))
    assert (found.codec, found.times_ms) == (codec, ((500, 1500), (1200, 2000)))
    assert found.file.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (srt(LINES).encode("latin-1"), "not in UTF-8"),
        (os.urandom(2000), "not in UTF-8|binary|none of SRT"),
        (srt(LINES).encode() + b"\0\0", "binary"),
        (b"Chapter one.\n", "none of SRT"),
        (b"WEBVTT\n\n", "no cue"),
        (ttml([]).encode(), "no cue"),
        (srt([(500, 1500, "x" * 100_000)]).encode(), r"the cue at 00:00:00\.500 has 100,000 characters"),
        (b"", "is empty"),
        (b"<tt>\xff\xfe</tt>", "broken XML"),
        (b"\xff\xfea", "not in UTF-8"),
    ],
    ids=[
        "Latin-1", "noise", "zeros at the end", "prose", "WebVTT without a cue", "TTML without a cue", "one long cue",
        "nothing",
        "XML in no encoding", "half a character",
    ],
)  # fmt: skip
def test_a_file_that_is_not_subtitles_is_refused_in_one_line_that_names_it(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "text.srt"
    path.write_bytes(data)
    with pytest.raises(MasterError, match=message) as refused:
        sidecars.identify(str(path))
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message


def test_a_huge_file_is_refused_without_being_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(MasterError, match="104,857,600 bytes, too many"):
        sidecars.identify(str(path))


def test_a_sidecar_that_has_changed_since_it_was_planned_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(srt(LINES))
    sidecar = sidecars.identify(str(path)).file
    path.write_text(srt([(500, 1500, "Gruesse"), *LINES[1:]]))
    with pytest.raises(MasterError, match="has changed"):
        sidecars.read(sidecar)


# --- times of another time base -----------------------------------------------------------------------------------

FILM_S = Fraction(10)


def looked_at(path: Path, text: str) -> sidecars.Sidecar:
    path.write_text(text)
    return sidecars.identify(str(path))


def late(hours: float, lines: list[tuple[int, int, str]] = LINES) -> list[tuple[int, int, str]]:
    return [(start + int(hours * 3_600_000), end + int(hours * 3_600_000), text) for start, end, text in lines]


@pytest.mark.parametrize("hours", [1, 10, 0.99])
@pytest.mark.parametrize("write", [srt, webvtt, ttml])
def test_cues_after_the_end_are_refused_with_the_first_ones_time(
    hours: float, write: Callable[[list[tuple[int, int, str]]], str], tmp_path: Path
) -> None:
    sidecar = looked_at(tmp_path / "late.txt", write(late(hours)))
    first = {1: "01:00:00.500", 10: "10:00:00.500", 0.99: "00:59:24.500"}[hours]
    with pytest.raises(
        MasterError, match=rf"late\.txt: 2 of 2 cues .* lasts 00:00:10\.000, the first at {first}; .*auto"
    ):
        sidecars.align(sidecar, Fraction(0), FILM_S)


@pytest.mark.parametrize("hours", [0, 1, 10])
def test_whole_hours_are_subtracted_on_request(hours: int, tmp_path: Path) -> None:
    sidecar = looked_at(tmp_path / "a.srt", srt(late(hours)))
    assert sidecars.align(sidecar, None, FILM_S).start_s == hours * 3600


def test_a_film_of_hours_keeps_the_times_that_fit_it(tmp_path: Path) -> None:
    sidecar = looked_at(tmp_path / "a.srt", srt(late(2)))
    assert sidecars.align(sidecar, None, Fraction(3 * 3600)).start_s == 0


def test_seconds_are_added_on_request_and_refused_if_cues_leave_the_film(tmp_path: Path) -> None:
    sidecar = looked_at(tmp_path / "a.srt", srt(late(0.99)))
    assert sidecars.align(sidecar, Fraction(-3564), FILM_S).start_s == 3564
    for offset in (Fraction(-3600), Fraction(-3550)):
        with pytest.raises(MasterError, match="2 of 2 cues are outside the film"):
            sidecars.align(sidecar, offset, FILM_S)
    with pytest.raises(MasterError, match="no number of whole hours"):
        sidecars.align(sidecar, None, FILM_S)


def test_half_of_the_cues_after_the_end_are_too_many_but_one_of_many_is_not(tmp_path: Path) -> None:
    half = looked_at(tmp_path / "half.srt", srt([*LINES, *late(1)]))
    with pytest.raises(MasterError, match=r"2 of 4 cues .* the first at 01:00:00\.500"):
        sidecars.align(half, Fraction(0), FILM_S)
    credit = looked_at(tmp_path / "credit.srt", srt([(n * 100, n * 100 + 90, "x") for n in range(60)] + late(1)[:1]))
    assert sidecars.count_outside(sidecars.align(credit, Fraction(0), FILM_S), FILM_S).count == 1
