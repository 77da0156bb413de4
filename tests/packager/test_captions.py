import time
from fractions import Fraction
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core import boxes
from headend.core.errors import PackagingError
from headend.core.media import Codec, Cue, TextRendition, TextRole
from headend.core.timing import plan_grid
from packager import captions
from packager.codec_strings import codec_string
from packager.segmenting.cut import Cut
from tests.support.makers import make_text_rendition
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
    # Each text has a number, because players merge two equal cues.
    return [Cue(start, end, f"line {n}\n<i>é</i> &amp; {n}") for n, (start, end) in enumerate(sorted(spans))]


@given(some_cues())
def test_files_hold_every_cue_in_each_segment_that_it_overlaps_and_in_no_other(cues: list[Cue]) -> None:
    packaged = cut(Codec.VTT, cues)
    assert sorted(merged_files(packaged.bodies), key=lambda cue: cue.text) == sorted(cues, key=lambda cue: cue.text)
    for body, segment, (start_s, end_s) in zip(
        packaged.bodies, packaged.track.segments, pairwise(GRID.segment_starts_s()), strict=True
    ):
        wanted = [cue for cue in cues if cue.start_ms < end_s * 1000 and cue.end_ms > start_s * 1000]
        assert list(file_cues(body)) == wanted
        assert segment.samples == len(wanted)


@given(some_cues())
def test_samples_in_mp4_give_the_same_cues_to_the_millisecond(cues: list[Cue]) -> None:
    packaged = cut(Codec.WVTT, cues)
    assert merged_samples(packaged.bodies, packaged.track.timescale) == cues


@given(some_cues())
def test_samples_fill_their_segment_without_a_gap(cues: list[Cue]) -> None:
    packaged = cut(Codec.WVTT, cues)
    for segment, (first, end) in zip(packaged.track.segments, pairwise(GRID.segment_bounds()), strict=True):
        assert (segment.start_ticks, segment.duration_ticks) == (first * 1001, (end - first) * 1001)


def test_webvtt_files_map_their_clock_to_the_titles() -> None:
    packaged = cut(Codec.VTT, [Cue(0, 3_700_000, "late", "line:0", "one")])
    assert packaged.init == b""
    assert packaged.bodies[0].decode() == (
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\none\n00:00:00.000 --> 01:01:40.000 line:0\nlate\n"
    )


def test_mp4_keeps_cue_settings_and_identifiers() -> None:
    cues = [Cue(100, 900, "one", "line:0 align:start", "first"), Cue(500, 2500, "two")]
    assert merged_samples(cut(Codec.WVTT, cues).bodies, 24000) == cues


@pytest.mark.parametrize(("codec", "expected"), [(Codec.WVTT, "wvtt"), (Codec.IMSC, "stpp.ttml.im1t")])
def test_init_segments_state_language_and_kind(codec: Codec, expected: str) -> None:
    document = b'<tt xmlns="http://www.w3.org/ns/ttml"><body/></tt>'
    packaged = captions.cut(make_text_rendition(codec=codec, language="pt-BR"), [], document, GRID)
    assert codec_string(packaged.init) == expected
    assert boxes.timescale(packaged.init) == packaged.track.timescale == 24000
    language = packaged.init[boxes.find(packaged.init, "moov/trak/mdia/mdhd").body + 20 :][:2]
    assert language == bytes([(16 << 2) | (15 >> 3), (15 & 7) << 5 | 18])  # p o r


def test_imsc_documents_contain_nested_paragraphs_of_their_segment() -> None:
    document = (
        '<tt xmlns="http://www.w3.org/ns/ttml"><body end="00:00:10.010"><div begin="00:00:01.000">'
        '<p end="00:00:00.500">a</p><p begin="00:00:00.500" end="00:00:03.000">b</p><p begin="00:00:07.000">c</p>'
        "</div></body></tt>"
    )
    packaged = captions.cut(make_text_rendition(codec=Codec.IMSC), [], document.encode(), GRID)
    held = ["".join(letter for letter in "abc" if f">{letter}<".encode() in body) for body in packaged.bodies]
    assert held == ["ab", "b", "", "c", "c"]


spans = st.tuples(st.integers(0, 11), st.none() | st.integers(0, 12))


@st.composite
def some_documents(draw: st.DrawFn, depth: int = 2) -> list[object]:
    """Contents of a ``div``: paragraphs and nested divs, with times in seconds."""
    children: list[object] = []
    for number in range(draw(st.integers(0, 4))):
        begin_s, end_s = draw(spans)
        inner = draw(some_documents(depth - 1)) if depth and draw(st.booleans()) else f"p{depth}{number}"
        children.append((begin_s, end_s, inner))
    return children


def written(children: list[object]) -> str:
    parts = []
    for begin_s, end_s, inner in children:
        times = f'begin="00:00:{begin_s:02}.000"' + ("" if end_s is None else f' end="00:00:{end_s:02}.000"')
        parts.append(f"<div {times}>{written(inner)}</div>" if isinstance(inner, list) else f"<p {times}>{inner}</p>")
    return "".join(parts)


def shown(children: list[object], base_s: int, start_s: Fraction, end_s: Fraction) -> str:
    """Return the paragraphs of a segment, one by one."""
    names = []
    for begin, end, inner in children:
        if base_s + begin < end_s and (end is None or base_s + end > start_s):
            names.append(shown(inner, base_s + begin, start_s, end_s) if isinstance(inner, list) else inner)
    return "".join(names)


@given(some_documents())
def test_imsc_documents_hold_exactly_the_text_of_their_segment(children: list[object]) -> None:
    document = f'<tt xmlns="http://www.w3.org/ns/ttml"><head/><body>{written(children)}</body></tt>'
    packaged = captions.cut(make_text_rendition(codec=Codec.IMSC), [], document.encode(), GRID)
    for body, (start_s, end_s) in zip(packaged.bodies, pairwise(GRID.segment_starts_s()), strict=True):
        mdat = boxes.find(body, "mdat")
        root = ElementTree.fromstring(body[mdat.body : mdat.end])
        assert [child.tag.partition("}")[2] for child in root] == ["head", "body"]
        assert "".join(root.itertext()) == shown(children, 0, start_s, end_s)


@pytest.mark.parametrize("codec", [Codec.VTT, Codec.WVTT, Codec.IMSC])
def test_the_text_of_a_day_is_cut_in_one_pass(codec: Codec) -> None:
    """Quadratic code, which reads all cues for each segment, would take many minutes."""
    grid = plan_grid(Fraction(25), 25 * 86_400, segment_s=Fraction(6), chunk_s=Fraction(30))
    cues = [Cue(start_ms, start_ms + 3000, str(start_ms)) for start_ms in range(0, 86_400_000, 6000)]
    paragraphs = (
        f'<p begin="{captions.clock(c.start_ms)}" end="{captions.clock(c.end_ms)}">{c.text}</p>' for c in cues
    )
    document = f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{"".join(paragraphs)}</div></body></tt>'
    began_s = time.process_time()

    packaged = captions.cut(make_text_rendition(codec=codec), cues, document.encode(), grid)

    assert time.process_time() - began_s < 30
    assert [str(cue.start_ms).encode() in body for cue, body in zip(cues, packaged.bodies, strict=True)] == [
        True
    ] * 14_400
    if codec is Codec.VTT:
        assert b"23:59:54.000 --> 23:59:57.000" in packaged.bodies[-1]


def test_only_ttml_becomes_imsc() -> None:
    rendition = TextRendition("imsc-en", Codec.IMSC, 1, "en", "en", TextRole.SUBTITLES)
    with pytest.raises(PackagingError, match="only TTML"):
        captions.cut(rendition, [], None, GRID)
