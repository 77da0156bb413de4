from fractions import Fraction

import pytest

from encoder.subtitles import ttml
from headend.core.errors import MasterError
from headend.core.media import Cue

HEAD = (
    '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" '
    'xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="24" ttp:frameRateMultiplier="1000 1001">'
)
REGIONS = (
    '<head><layout><region xml:id="top" tts:origin="10% 5%" tts:extent="80% 20%"/>'
    '<region xml:id="low" tts:origin="10% 70%" tts:extent="80% 20%" tts:displayAlign="after"/></layout></head>'
)


def document(body: str, head: str = "") -> bytes:
    return f"{HEAD}{head}<body>{body}</body></tt>".encode()


def cues(body: str, head: str = "") -> list[Cue]:
    return list(ttml.cues(ttml.read(document(body, head), "film.ttml")))


def test_paragraphs_are_cues_with_their_lines_and_what_could_be_markup_is_escaped() -> None:
    assert cues('<div><p begin="1s" end="2.5s">R&amp;B &lt;b&gt;<br/>\n  two   words</p></div>') == [
        Cue(1000, 2500, "R&amp;B &lt;b&gt;\ntwo words")
    ]


def test_nested_times_and_times_in_frames_are_read() -> None:
    assert cues('<div begin="10s"><p begin="00:00:01:12" dur="2s">a</p></div>') == [Cue(11500, 13500, "a")]


def test_paragraphs_that_overlap_stay_whole() -> None:
    found = cues('<div><p begin="1s" end="3s">a</p><p begin="2s" end="4s">b</p></div>')
    assert found == [Cue(1000, 3000, "a"), Cue(2000, 4000, "b")]


def test_timed_parts_of_a_paragraph_make_a_cue_for_each_state() -> None:
    found = cues('<div><p begin="1s" end="4s"><span end="1s">a</span><span begin="1s"> b</span> c</p></div>')
    assert found == [Cue(1000, 2000, "a c"), Cue(2000, 4000, "b c")]


def test_italic_bold_and_underlined_words_stay_so() -> None:
    found = cues(
        '<div><p end="1s"><span tts:fontStyle="italic">a<span tts:fontWeight="bold">b</span></span> c</p></div>'
    )
    assert [cue.text for cue in found] == ["<i>a</i><i><b>b</b></i> c"]


def test_text_at_the_top_stays_there() -> None:
    found = cues('<div><p end="1s" region="top">a</p><p begin="1s" end="2s" region="low">b</p></div>', REGIONS)
    assert [(cue.text, cue.settings) for cue in found] == [("a", "line:0"), ("b", "")]


def test_imsc_states_its_profile_and_ends_with_the_title() -> None:
    found = ttml.imsc(ttml.read(document('<div><p begin="1s" end="9s">a</p></div>'), "x"), Fraction(5))
    assert b'profile="http://www.w3.org/ns/ttml/profile/imsc1/text"' in found
    again = ttml.cues(ttml.read(found, "x"))
    assert again == (Cue(1000, 5000, "a"),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE tt [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><tt>&b;</tt>', "declares a DTD or entities"),
        (b'<!DOCTYPE tt SYSTEM "file:///etc/passwd"><tt/>', "declares a DTD or entities"),
        (b"<tt><body>", "broken XML"),
        (b"<html><body/></html>", "not TTML"),
        (b'<tt xmlns="http://www.w3.org/ns/ttml"/>', "not TTML"),
        (b"<a>" * 100_000, "broken XML"),
    ],
    ids=["entity bomb", "foreign entity", "cut short", "HTML", "no body", "a hundred thousand elements deep"],
)
def test_input_other_than_timed_text_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(MasterError, match=message) as refused:
        ttml.read(data, "film.ttml")
    assert "\n" not in refused.value.message


def test_invalid_values_in_valid_xml_raise_nothing_but_master_errors() -> None:
    odd = document('<div><p begin="soon" end="-3s" region="nowhere" tts:color="none of them">a</p></div>')
    try:
        ttml.cues(ttml.read(odd, "film.ttml"))
    except MasterError as error:
        assert "film.ttml" in error.message


def test_a_document_that_starts_at_an_hour_is_moved_to_the_films_start() -> None:
    body = (
        '<div begin="3600s"><p begin="1s" end="2s">a</p></div>'
        '<div><p begin="3603s" end="3604s">b</p><p begin="0s" end="9s">slate</p></div>'
        '<div begin="3599s" end="3700s"><p begin="6s"><span begin="1s" end="2s">c</span></p></div>'
    )
    moved = ttml.imsc(ttml.read(document(body), "x"), Fraction(60), start_s=Fraction(3600))
    found = ttml.cues(ttml.read(moved, "x"))
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in found] == [
        (1000, 2000, "a"), (3000, 4000, "b"), (6000, 7000, "c"),
    ]  # fmt: skip
    assert b"slate" not in moved


def test_a_document_is_moved_to_a_later_time_too() -> None:
    moved = ttml.imsc(
        ttml.read(document('<div><p begin="1s" end="2s">a</p></div>'), "x"), Fraction(60), start_s=Fraction(-2)
    )
    assert [(cue.start_ms, cue.end_ms) for cue in ttml.cues(ttml.read(moved, "x"))] == [(3000, 4000)]
