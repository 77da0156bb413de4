from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import PackagingError
from headend.media import Codec, Cue, TextRendition, TextRole
from packager import boxes, captions
from packager.codec_strings import codec_string
from packager.segmenting import Cut
from tests.support.nouns import make_text_rendition
from tests.support.releases import make_grid
from tests.support.text import file_cues, merged_files, merged_samples

GRID = make_grid(Fraction(24000, 1001), 240, segment_s=Fraction(2))
"""Five segments of 2.002 s."""
END_MS = round(GRID.duration_s * 1000)


def cut(codec: Codec, cues: list[Cue]) -> Cut:
    return captions.cut(make_text_rendition(codec=codec), cues, None, GRID)


@st.composite
def some_cues(draw: st.DrawFn) -> list[Cue]:
    times = st.tuples(st.integers(0, END_MS - 1), st.integers(1, END_MS)).filter(lambda one: one[0] < one[1])
    spans = draw(st.lists(times, max_size=8))
    # A number in each text: two cues that are equal in all would be one for any player.
    return [Cue(start, end, f"line {n}\n<i>é</i> &amp; {n}") for n, (start, end) in enumerate(sorted(spans))]


@given(some_cues())
def test_files_hold_every_cue_in_each_segment_that_it_overlaps_and_in_no_other(cues: list[Cue]) -> None:
    made = cut(Codec.VTT, cues)
    assert sorted(merged_files(made.bodies), key=lambda cue: cue.text) == sorted(cues, key=lambda cue: cue.text)
    for body, segment, (start_s, end_s) in zip(
        made.bodies, made.track.segments, pairwise(GRID.segment_starts_s()), strict=True
    ):
        wanted = [cue for cue in cues if cue.start_ms < end_s * 1000 and cue.end_ms > start_s * 1000]
        assert list(file_cues(body)) == wanted
        assert segment.samples == len(wanted)


@given(some_cues())
def test_samples_in_mp4_come_to_the_same_cues_to_the_millisecond(cues: list[Cue]) -> None:
    made = cut(Codec.WVTT, cues)
    assert merged_samples(made.bodies, made.track.timescale) == cues


@given(some_cues())
def test_samples_fill_their_segment_without_a_gap(cues: list[Cue]) -> None:
    made = cut(Codec.WVTT, cues)
    for segment, (first, end) in zip(made.track.segments, pairwise(GRID.segment_bounds()), strict=True):
        assert (segment.start_ticks, segment.duration_ticks) == (first * 1001, (end - first) * 1001)


def test_files_of_webvtt_say_that_their_clock_is_the_titles() -> None:
    made = cut(Codec.VTT, [Cue(0, 3_700_000, "late", "line:0", "one")])
    assert made.init == b""
    assert made.bodies[0].decode() == (
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\none\n00:00:00.000 --> 01:01:40.000 line:0\nlate\n"
    )


def test_settings_and_identifiers_go_along_in_mp4() -> None:
    cues = [Cue(100, 900, "one", "line:0 align:start", "first"), Cue(500, 2500, "two")]
    assert merged_samples(cut(Codec.WVTT, cues).bodies, 24000) == cues


@pytest.mark.parametrize(("codec", "said"), [(Codec.WVTT, "wvtt"), (Codec.IMSC, "stpp.ttml.im1t")])
def test_init_segments_say_what_they_are_for(codec: Codec, said: str) -> None:
    document = b'<tt xmlns="http://www.w3.org/ns/ttml"><body/></tt>'
    made = captions.cut(make_text_rendition(codec=codec, language="pt-BR"), [], document, GRID)
    assert codec_string(made.init) == said
    assert boxes.timescale(made.init) == made.track.timescale == 24000
    language = made.init[boxes.find(made.init, "moov/trak/mdia/mdhd").body + 20 :][:2]
    assert language == bytes([(16 << 2) | (15 >> 3), (15 & 7) << 5 | 18])  # p o r


def test_imsc_documents_hold_the_paragraphs_of_their_segment_whatever_nests_them() -> None:
    document = (
        '<tt xmlns="http://www.w3.org/ns/ttml"><body end="00:00:10.010"><div begin="00:00:01.000">'
        '<p end="00:00:00.500">a</p><p begin="00:00:00.500" end="00:00:03.000">b</p><p begin="00:00:07.000">c</p>'
        "</div></body></tt>"
    )
    made = captions.cut(make_text_rendition(codec=Codec.IMSC), [], document.encode(), GRID)
    held = ["".join(letter for letter in "abc" if f">{letter}<".encode() in body) for body in made.bodies]
    assert held == ["ab", "b", "", "c", "c"]


def test_only_ttml_becomes_imsc() -> None:
    rendition = TextRendition("imsc-en", Codec.IMSC, 1, "en", "en", TextRole.SUBTITLES)
    with pytest.raises(PackagingError, match="only TTML"):
        captions.cut(rendition, [], None, GRID)
