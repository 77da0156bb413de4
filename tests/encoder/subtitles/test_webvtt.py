"""WebVTT as browsers read it: blocks that are not cues are skipped, and no later cue is lost."""

import pytest

from encoder.subtitles import webvtt
from headend.core.media import Cue


def cue(start_s: int, text: str, end_s: int | None = None) -> Cue:
    return Cue(start_s * 1000, (end_s or start_s + 1) * 1000, text)


def block(start_s: int, text: str) -> str:
    return f"00:{start_s:02}.000 --> 00:{start_s + 1:02}.000\n{text}\n\n"


A, C = cue(1, "a"), cue(5, "c")


@pytest.mark.parametrize(
    ("between", "skipped"),
    [
        ("00:00:03,000 --> 00:00:04,000\ncomma\n\n", (6,)),
        ("00:03.000 -> 00:04.000\narrow\n\n", (6,)),
        ("00:03.00 --> 00:04.000\ntwo digits\n\n", (6,)),
        ("00:03.0000 --> 00:04.000\nfour digits\n\n", (6,)),
        ("00:63.000 --> 01:04.000\nmore seconds than a minute has\n\n", (6,)),
        ("3.000 --> 4.000\nno minutes\n\n", (6,)),
        ("name\n00:03.000 --> soon\nno end\n\n", (6,)),
        ("00:04.000 --> 00:03.000\nends before it starts\n\n", (6,)),
        ("00:03.000 --> 00:04.000\n\nblank line before this\n\n", (8,)),
        ("a stray line\n\n", (6,)),
        ("a stray\nparagraph\n\nand another\n\n", (6, 9)),
        ("NOTE a comment --\n\n", ()),
        ("NOTE\nof several\nlines\n\n", ()),
        ("STYLE\n::cue { color: red }\n\n", ()),
        ("REGION\nid:top\n\n", ()),
        ("\n\n\n", ()),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_block_that_is_not_a_cue_is_skipped_and_reported(
    between: str, skipped: tuple[int, ...], line_end: str
) -> None:
    text = "WEBVTT\n\n" + block(1, "a") + between + block(5, "c")
    assert webvtt.parse(text.replace("\n", line_end)) == webvtt.ParsedFile((A, C), skipped)


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("WEBVTT - a title\nKind: captions\nLanguage: en\n\n" + block(1, "a"), (A,)),
        ("WEBVTT\n00:01.000 --> 00:02.000\na\n", (A,)),
        ("WEBVTT\n\n1:00:01.000 --> 123:00:02.000\na", (Cue(3_601_000, 442_802_000, "a"),)),
        ("WEBVTT\n\n00:01.000\t-->00:02.000line:0\na", (Cue(1000, 2000, "a", "line:0"),)),
        ("WEBVTT\n\nan id\n00:01.000 --> 00:02.000  line:0  align:start\na\nb", (
            Cue(1000, 2000, "a\nb", "line:0 align:start", "an id"),)),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\na\n00:05.000 --> 00:06.000\nc", (A, C)),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n00:05.000 --> 00:06.000\nc", (C,)),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n<i>a</i> &amp; b", (cue(1, "<i>a</i> &amp; b"),)),
        ("WEBVTT", ()),
    ],
    ids=[
        "header", "no empty line", "hours", "no spaces", "settings and id", "two in a block", "no text", "markup",
        "nothing",
    ],
)  # fmt: skip
def test_everything_that_the_specification_allows_is_read(text: str, cues: tuple[Cue, ...]) -> None:
    assert webvtt.parse(text).cues == cues


@pytest.mark.parametrize("hostile", ["-->\n", "a\n", "0", "1\n-->\n\n", "00:01.000 --> ", "\n"])
def test_a_long_file_takes_linear_time(hostile: str) -> None:
    # Quadratic code would take minutes and hit the test's time limit.
    assert webvtt.parse("WEBVTT\n\n" + hostile * (2_000_000 // len(hostile))).cues == ()
