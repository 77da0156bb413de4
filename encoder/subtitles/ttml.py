"""Read TTML with ttconv, and convert it to cues for WebVTT and to a plain IMSC document.

Sources: W3C, TTML2; W3C, IMSC 1.1 Text Profile; W3C, WebVTT, section 4.2 (cue text).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from xml.etree import ElementTree as Xml

from defusedxml import ElementTree as SafeXml
from defusedxml.common import DefusedXmlException
from ttconv import model
from ttconv.imsc import reader, writer
from ttconv.imsc.config import IMSCWriterConfiguration
from ttconv.style_properties import DisplayAlignType, FontStyleType, FontWeightType, StyleProperties

from encoder.subtitles.cues import escape, milliseconds
from headend.core.errors import MasterError
from headend.core.media import Cue

PROFILE = "http://www.w3.org/ns/ttml/profile/imsc1/text"
"""Designator of the text profile of IMSC 1.0.1 (section 5.1), also for 1.1 documents without its additions."""
_FOREVER_S = 10**6
_PROFILE_ATTRIBUTE = "{http://www.w3.org/ns/ttml#parameter}profile"

# ttconv logs every step; only its result matters.
logging.getLogger("ttconv").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class _Run:
    """Text, or a line break, with the time at which it is shown."""

    begin_s: Fraction
    end_s: Fraction | None
    text: str


def read(data: bytes, url: str) -> model.ContentDocument:
    """Read a document; one with a DTD or entities is rejected before they are parsed.

    Args:
        data: The file's bytes.
        url: Its location, for errors.

    Raises:
        MasterError: It is not XML or not TTML, or has a DTD or entities.
    """
    try:
        root = SafeXml.fromstring(data, forbid_dtd=True)
        _extend_open_elements(root)
        document = reader.to_model(Xml.ElementTree(root))
    except DefusedXmlException as error:
        raise MasterError(
            f"{url} declares a DTD or entities, which are not allowed in timed text: export it again", facts=str(error)
        ) from None
    except Xml.ParseError as error:
        raise MasterError(f"{url} is broken XML ({error}); export it again") from None
    except Exception as error:
        # The reader raises any kind of exception for invalid input.
        raise MasterError(f"{url} can't be read as TTML; export it again", reason=repr(error)) from None
    if document is None or document.get_body() is None:
        raise MasterError(f"{url} is XML, but not TTML with a body; use SRT, WebVTT, ASS or TTML")
    return document


def _extend_open_elements(root: Xml.Element) -> None:
    """Give elements with a begin and no end a very long duration, so that they end with their parent.

    TTML2 defines it that way (section 12.2.4). But ttconv 1.2 computes the end from the children and ignores the begin.
    """
    for parent in root.iter():
        for child in parent if parent.get("timeContainer") != "seq" else ():
            if "begin" in child.attrib and not {"end", "dur"} & child.attrib.keys():
                child.set("dur", f"{_FOREVER_S}s")


def cues(document: model.ContentDocument) -> tuple[Cue, ...]:
    """Convert paragraphs to cues. If the parts of one appear at different times, each state becomes a cue."""
    body = document.get_body()
    return tuple(cue for paragraph, span in _paragraphs(body, (Fraction(0), None)) for cue in _cues(paragraph, span))


def imsc(document: model.ContentDocument, duration_s: Fraction, *, start_s: Fraction = Fraction(0)) -> bytes:
    """Convert a document to IMSC's text profile, with all times stated and none after the title's end.

    Args:
        document: The document; it is modified.
        duration_s: Duration of the title.
        start_s: When the title starts, in the document's time.
    """
    body = document.get_body()
    _shift(body, start_s)
    end_s = body.get_end()
    body.set_end(duration_s if end_s is None else min(end_s, duration_s))
    root = writer.from_model(document, IMSCWriterConfiguration()).getroot()
    root.set(_PROFILE_ATTRIBUTE, PROFILE)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _shift(element: model.ContentElement, earlier_s: Fraction) -> bool:
    """Shift an element and its content to earlier times, or to later ones if ``earlier_s`` is negative.

    Times of children are relative to the parent's begin. So children are shifted only by the part of the shift that
    would make the parent's begin negative.

    Returns:
        False if nothing of the element is left.
    """
    begin_s, end_s = element.get_begin() or Fraction(0), element.get_end()
    if end_s is not None:
        if end_s <= earlier_s:
            return False
        element.set_end(end_s - earlier_s)
    if begin_s >= earlier_s:
        element.set_begin(begin_s - earlier_s)
        return True
    element.set_begin(None)
    for child in list(element):
        if not isinstance(child, model.Text | model.Br) and not _shift(child, earlier_s - begin_s):
            element.remove_child(child)
    return True


_Span = tuple[Fraction, Fraction | None]


def _paragraphs(element: model.ContentElement, parent_span: _Span) -> Iterator[tuple[model.P, _Span]]:
    span = _active_span(element, parent_span)
    if isinstance(element, model.P):
        yield element, span
        return
    for child in element:
        yield from _paragraphs(child, span)


def _active_span(element: model.ContentElement, parent_span: _Span) -> _Span:
    """When an element is shown: its times are relative to its parent's begin, and it can't outlast its parent."""
    begin_s = parent_span[0] + (element.get_begin() or 0)
    end_s = element.get_end()
    ends = [end for end in (None if end_s is None else parent_span[0] + end_s, parent_span[1]) if end is not None]
    return begin_s, min(ends, default=None)


def _cues(paragraph: model.P, span: _Span) -> Iterator[Cue]:
    runs = list(_runs(paragraph, span, ""))
    edges = {span[0], *(run.begin_s for run in runs), *(run.end_s for run in runs if run.end_s is not None)}
    # A paragraph without an end is cut at the end of the title.
    bounds: list[Fraction] = sorted(edges | ({Fraction(_FOREVER_S)} if span[1] is None else {span[1]}))
    settings = _line_setting(paragraph)
    for begin_s, end_s in pairwise(bounds):
        text = _clean_lines([r.text for r in runs if r.begin_s <= begin_s and (r.end_s is None or end_s <= r.end_s)])
        if text and milliseconds(begin_s) < milliseconds(end_s):
            yield Cue(milliseconds(begin_s), milliseconds(end_s), text, settings)


def _runs(element: model.ContentElement, span: _Span, styles: str) -> Iterator[_Run]:
    for child in element:
        inner = _active_span(child, span) if not isinstance(child, model.Text | model.Br) else span
        if isinstance(child, model.Br):
            yield _Run(*inner, "\n")
        elif isinstance(child, model.Text):
            words = " ".join(child.get_text().split("\n"))
            opened = "".join(f"<{tag}>" for tag in styles)
            closed = "".join(f"</{tag}>" for tag in reversed(styles))
            yield _Run(*inner, f"{opened}{escape(words)}{closed}" if words.strip() else words)
        elif isinstance(child, model.Rt | model.Rp | model.Rtc):
            # Skip ruby text: next to its base text, it would look like part of the sentence.
            continue
        else:
            yield from _runs(child, inner, _with_styles(child, styles))


def _with_styles(element: model.ContentElement, styles: str) -> str:
    for tag, is_set in (
        ("i", element.get_style(StyleProperties.FontStyle) in (FontStyleType.italic, FontStyleType.oblique)),
        ("b", element.get_style(StyleProperties.FontWeight) is FontWeightType.bold),
        ("u", getattr(element.get_style(StyleProperties.TextDecoration), "underline", None) is True),
    ):
        if is_set and tag not in styles:
            styles += tag
    return styles


def _clean_lines(texts: Sequence[str]) -> str:
    lines = (" ".join(line.split()) for line in "".join(texts).split("\n"))
    return "\n".join(line for line in lines if line)


def _line_setting(paragraph: model.P) -> str:
    """The cue setting ``line:0`` if the region's text is in the upper half; WebVTT's default is the bottom."""
    region = paragraph.get_region()
    if region is None:
        return ""
    origin, extent = region.get_style(StyleProperties.Origin), region.get_style(StyleProperties.Extent)
    if origin is None or origin.y.units.value != "%":
        return ""
    height = extent.height.value if extent is not None and extent.height.units.value == "%" else 0
    align = region.get_style(StyleProperties.DisplayAlign)
    share = {DisplayAlignType.after: 1.0, DisplayAlignType.center: 0.5}.get(align, 0.0)
    return "line:0" if origin.y.value + share * height < 50 else ""
