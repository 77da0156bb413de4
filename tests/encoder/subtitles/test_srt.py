"""SubRip: blocks that are not cues are skipped, and no later cue is lost."""

import pytest

from encoder.subtitles import srt, webvtt
from headend.core.media import Cue


def block(number: int, start_s: int, text: str) -> str:
    return f"{number}\n00:00:{start_s:02},000 --> 00:00:{start_s + 1:02},000\n{text}\n\n"


A, C = Cue(1000, 2000, "a"), Cue(5000, 6000, "c")


@pytest.mark.parametrize(
    ("between", "skipped"),
    [
        ("2\n00:00:03;000 --> 00:00:04,000\nsemicolon\n\n", (5,)),
        ("2\n00:00:03,000 -> 00:00:04,000\narrow\n\n", (5,)),
        ("2\n00:00:03,000 --> \nno end\n\n", (5,)),
        ("2\n00:00:04,000 --> 00:00:03,000\nends before it starts\n\n", (5,)),
        ("2\n00:00:03,000 --> 00:00:04,000\n\nblank line before this\n\n", (8,)),
        ("a stray line\n\n", (5,)),
        ("2\n00:00:03,000 --> 00:00:04,000\n\n", ()),
        ("2\n\n", ()),
        ("\n \n\n", ()),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_block_that_is_not_a_cue_is_skipped_and_reported(
    between: str, skipped: tuple[int, ...], line_end: str
) -> None:
    text = block(1, 1, "a") + between + block(3, 5, "c")
    assert srt.parse(text.replace("\n", line_end)) == webvtt.ParsedFile((A, C), skipped)


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("0:0:1,0 --> 00:00:02.000\na", (A,)),
        ("00:01,000 --> 00:02,000\na", (A,)),
        ("1\n00:00:01,000 --> 00:00:02,000 X1:10 X2:20 Y1:1 Y2:2\na", (A,)),
        ("1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:05,000 --> 00:00:06,000\nc", (A, C)),
        ("1\n00:00:01,000 --> 00:00:02,000\n42", (Cue(1000, 2000, "42"),)),
        ("1\n10:00:01,000 --> 10:00:02,000\n<i>a</i>\nb", (Cue(36_001_000, 36_002_000, "<i>a</i>\nb"),)),
    ],
)
def test_everything_that_players_accept_is_read(text: str, cues: tuple[Cue, ...]) -> None:
    assert srt.is_srt(text)
    assert srt.parse(text) == webvtt.ParsedFile(cues)


def test_written_cues_are_read_back() -> None:
    assert srt.parse(srt.write((A, C))).cues == (A, C)
