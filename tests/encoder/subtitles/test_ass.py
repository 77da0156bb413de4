"""ASS: text without drawings, overrides and repeats, at its stated position."""

import pytest

from encoder.subtitles import ass, cues
from headend.core.media import Cue

HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
{info}
[V4+ Styles]
Format: Name, Fontname, Fontsize, Bold, Italic, Underline, Alignment
Style: Default,Arial,20,0,0,0,2
Style: Top,Arial,20,0,0,0,8
Style: Thought,Arial,20,0,-1,0,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def read(*events: str, info: str = "WrapStyle: 0") -> list[Cue]:
    """Read events, given as ``style|text`` of one second each, as a file."""
    lines = [
        f"Dialogue: 0,0:00:01.00,0:00:02.00,{event.partition('|')[0] or 'Default'},,0,0,0,,{event.partition('|')[2]}"
        for event in events
    ]
    return list(cues.read((HEAD.format(info=info) + "\n".join(lines) + "\n").encode(), file_format="ass"))


def output(*events: str, info: str = "WrapStyle: 0") -> list[tuple[str, str]]:
    return [(cue.text, cue.settings) for cue in read(*events, info=info)]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (r"|one\htwo", "one\N{NO-BREAK SPACE}two"),
        (r"|one\Ntwo", "one\ntwo"),
        (r"|one\ntwo", "one two"),
        (r"|{\i1}lean{\i0} and {\b1}bold{\b0}, {\u1}both{\b1} so{\r}.",
         "<i>lean</i> and <b>bold</b>, <u>both</u> <b><u>so</u></b>."),
        (r"|{\blur2\bord3\fad(1,2)\t(0,100,\b1)\c&HFF&}plain", "plain"),
        (r"|{a note}words{another}", "words"),
        (r"|{\k20}ka{\k30}ra", "kara"),
        (r"Thought|hm{\i0}?", "<i>hm</i>?"),
        (r"|a < b & c <i>", "a &lt; b &amp; c &lt;i>"),
        (r"|an { open brace", "an { open brace"),
        (r"|\{braces\}", "{braces}"),
        (r"|sign {\p0}and {\p1}m 0 0 l 9 9{\p0}text", "sign and text"),
    ],
)  # fmt: skip
def test_overrides_and_escapes_are_not_text(event: str, text: str) -> None:
    assert [cue.text for cue in read(event)] == [text]


@pytest.mark.parametrize(
    "drawing",
    [r"|{\p1}m 0 0 l 100 0 100 100{\p0}", r"|{\an7\pos(0,0)\p4}m 0 0 b 1 1 2 2 3 3", r"|{\p1}m 0 0{\p0} ", r"|{\an5}"],
)
def test_an_event_with_only_a_drawing_is_not_a_cue(drawing: str) -> None:
    assert [cue.text for cue in read("|words", drawing)] == ["words"]


def test_a_soft_line_break_breaks_only_if_the_script_says_so() -> None:
    assert output(r"|one\ntwo", info="WrapStyle: 2") == [("one\ntwo", "")]


@pytest.mark.parametrize(
    ("event", "settings"),
    [
        ("|a", ""),
        ("Top|a", "line:0"),
        (r"|{\an8}a", "line:0"),
        (r"|{\an8}{\an2}a", "line:0"),  # the first one applies
        (r"|{\a6}a", "line:0"),
        (r"|{\an7}a", "line:0 align:left"),
        (r"|{\an3}a", "align:right"),
        (r"|{\an5}a", "line:50%,center"),
        (r"|{\pos(960,1026)}a", "line:95%,end position:50%,center align:center"),
        (r"|{\an7\pos(192,108)}a", "line:10% position:10%,line-left align:left"),
        (r"|{\an6\pos(1824.0,540)}a", "line:50%,center position:95%,line-right align:right"),
        (r"|{\an8\move(960,54,960,1000,0,500)}a", "line:5% position:50%,center align:center"),
        (r"|{\an8\pos(-50,20)}a", "line:0"),  # outside of the picture
        (r"|{\pos(.,.)}a", ""),
    ],
)
def test_positions_on_the_screen_become_webvtt_positions(event: str, settings: str) -> None:
    assert output(event) == [("a", settings)]


def test_without_a_stated_size_positions_use_the_default_size() -> None:
    header = "[Script Info]\n[V4 Styles]\nFormat: Name, Alignment\nStyle: *Default,6\n"
    (plain, placed) = ass.cues(
        ass.Script(header), [(0, 9, "0,0,Default,,0,0,0,,a"), (9, 18, r"1,0,*Default,,0,0,0,,{\an7\pos(96,72)}b")]
    )
    assert (plain.settings, placed.settings) == ("line:0", "line:25% position:25%,line-left align:left")


def test_layers_with_the_same_text_are_one_cue() -> None:
    assert output("|same", "Top|other", "|same") == [("same", ""), ("other", "line:0")]
    # A shadow has a small offset; the same word elsewhere is another text.
    assert [settings for _, settings in output(*(rf"|{{\pos({x},1026)}}exit" for x in (960, 966, 200)))] == [
        f"line:95%,end position:{x}%,center align:center" for x in (50, "10.4")
    ]


@pytest.mark.parametrize("hostile", ["{", "\\", "{\\p", "{\\an8}", "{\\i1}a{\\i0}"])
def test_a_long_event_takes_linear_time(hostile: str) -> None:
    # Quadratic code would take minutes and hit the test's time limit.
    found = ass.cues(ass.Script(HEAD), [(0, 9, "0,0,Default,,0,0,0,," + (hostile * 200_000)[:400_000])])
    assert len(found) <= 1
