"""Which tracks of a release a manifest lists: a filter from a query, a device's profile, and a plan's limit.

The grammar, in ABNF (RFC 5234)::

    query    = term *( "&" term )
    term     = "height=" range / "rate=" range / "codec=" list / "lang=" list / "channels=" list
             / "hdr=" ( "yes" / "no" ) / "device=" name / other
    range    = number / number ".." / ".." number / number ".." number
    number   = 1*9DIGIT [ "." 1*3DIGIT ] [ "k" / "M" ]
    list     = item *31( "," item )

Other terms are ignored, so that CMCD and the like don't split a cache. A term that is known may stand once. The
canonical form of a filter is the same for all queries that mean the same, so it belongs into the key of a cache.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TypeVar
from urllib.parse import unquote

from headend.core.codecs import AUDIO, VIDEO
from headend.core.manifests import devices
from headend.core.manifests.devices import Device
from headend.core.manifests.labelling import UNDETERMINED
from headend.core.manifests.outline import OutlinedTrack, ReleaseOutline
from headend.core.media import AudioRendition, Codec, TextRendition, VideoRange, VideoRendition

LONGEST_TERM = 512
"""Characters of a term's value."""
MOST_ITEMS = 32
"""Items of a list."""

PICTURES = frozenset(one.codec for one in VIDEO)
SOUNDS = frozenset(one.codec for one in AUDIO)

_NUMBER = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?([kM]?)", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8}){0,4}", re.ASCII)
_UNITS = {"": 1, "k": 1000, "M": 1_000_000}

Item = TypeVar("Item")


class SelectionError(Exception):
    """A filter that is malformed, or that leaves nothing to play. The message is a constant that says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """A closed range of whole numbers.

    Attributes:
        least: Least number in it; None for no limit.
        most: Highest number in it; None for no limit.
    """

    least: int | None = None
    most: int | None = None

    def __contains__(self, number: int) -> bool:
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        return f"{'' if self.least is None else self.least}..{'' if self.most is None else self.most}"


EVERYTHING = Span()


@dataclass(frozen=True)
class Selection:
    """A filter of tracks; the default lets all of them pass.

    Attributes:
        height_px: Of pictures: the shorter side.
        rate_bps: Of pictures: the rate of the segment with the highest.
        codecs: Which codecs; a kind of tracks of which none is named passes.
        languages: Of sound and text, in lower case; a tag also stands for those that begin with it.
        channels: Of sound: how many.
        hdr: Pictures with or without HDR only; None for both.
        device: The name of a device's profile; empty for none.
    """

    height_px: Span = EVERYTHING
    rate_bps: Span = EVERYTHING
    codecs: frozenset[Codec] = frozenset()
    languages: frozenset[str] = frozenset()
    channels: frozenset[int] = frozenset()
    hdr: bool | None = None
    device: str = ""

    @cached_property
    def canonical(self) -> str:
        """The query that means the same, in the one form that caches use as a key; empty if everything passes."""
        terms = {
            "channels": ",".join(map(str, sorted(self.channels))),
            "codec": ",".join(sorted(self.codecs)),
            "device": self.device,
            "hdr": {True: "yes", False: "no", None: ""}[self.hdr],
            "height": "" if self.height_px == EVERYTHING else str(self.height_px),
            "lang": ",".join(sorted(self.languages)),
            "rate": "" if self.rate_bps == EVERYTHING else str(self.rate_bps),
        }
        return "&".join(f"{name}={value}" for name, value in terms.items() if value)


ALL = Selection()


def parse(query: str) -> Selection:
    """Read a filter from a query.

    Args:
        query: Without its question mark, percent-encoded.

    Raises:
        SelectionError: A known term is malformed, empty or there twice.
    """
    found: dict[str, object] = {}
    for term in query.split("&"):
        name, _, value = term.partition("=")
        if name not in _TERMS:
            continue
        field, read, reason = _TERMS[name]
        if field in found:
            raise SelectionError(f"{name} is there twice")
        try:
            found[field] = read(unquote(value) if len(value) <= LONGEST_TERM else "")
        except ValueError:
            raise SelectionError(reason) from None
    return replace(ALL, **found) if found else ALL  # type: ignore[arg-type]


def may_select(query: str) -> bool:
    """Whether a query has a term of a filter, so that `parse` may find something in it."""
    return any(term.partition("=")[0] in _TERMS for term in query.split("&"))


def terms(query: str, others: Collection[str] = ()) -> str:
    """The part of a query that a manifest may depend on, in one order, so that nothing else splits a cache.

    Args:
        query: Without its question mark.
        others: Names of terms beside those of a filter.
    """
    if not query:
        return ""
    return "&".join(sorted(t for t in query.split("&") if (name := t.partition("=")[0]) in _TERMS or name in others))


def select(outline: ReleaseOutline, selection: Selection, max_height_px: int | None = None) -> ReleaseOutline:
    """Leave out what a filter leaves out and then, whatever the filter says, what is above a plan's limit.

    Args:
        outline: The release.
        selection: What is asked for.
        max_height_px: The plan's highest picture, by its shorter side; None for no limit.

    Raises:
        SelectionError: No picture is left of a title with pictures, or no sound of one with sound.
    """
    device = devices.known()[selection.device] if selection.device else None
    video = tuple(
        track
        for track in outline.video
        if _passes_picture(track, selection, device) and track.peak_bps in selection.rate_bps
    )
    video = tuple(track for track in video if _within(track, max_height_px))
    audio = tuple(track for track in outline.audio if _passes_sound(track, selection, device))
    if outline.video and not video:
        raise SelectionError("no picture is left")
    if outline.audio and not audio:
        raise SelectionError("no sound is left")
    # Trick play pictures belong to those that are played.
    families = {(track.rendition.codec, track.rendition.video_range) for track in video}
    trick = tuple(
        track
        for track in outline.trick
        if (track.rendition.codec, track.rendition.video_range) in families and _within(track, max_height_px)
    )
    text = tuple(track for track in outline.text if _passes_text(track, selection))
    return replace(outline, video=video, audio=audio, trick=trick, text=text)


def _within(track: OutlinedTrack[VideoRendition], max_height_px: int | None) -> bool:
    return max_height_px is None or short_side_px(track.rendition) <= max_height_px


def short_side_px(rendition: VideoRendition) -> int:
    """What limits of height mean, so that upright pictures count as what they are."""
    return min(rendition.width_px, rendition.height_px)


def _passes_picture(track: OutlinedTrack[VideoRendition], selection: Selection, device: Device | None) -> bool:
    rendition = track.rendition
    is_hdr = rendition.video_range is not VideoRange.SDR
    return (
        short_side_px(rendition) in selection.height_px
        and _passes_codec(rendition.codec, selection.codecs, PICTURES)
        and selection.hdr in (None, is_hdr)
        and (device is None or device.plays_picture(rendition.codec, short_side_px(rendition), is_hdr=is_hdr))
    )


def _passes_sound(track: OutlinedTrack[AudioRendition], selection: Selection, device: Device | None) -> bool:
    rendition = track.rendition
    return (
        _passes_codec(rendition.codec, selection.codecs, SOUNDS)
        and _passes_language(rendition.language, selection.languages)
        and (not selection.channels or rendition.channels in selection.channels)
        and (device is None or device.plays_sound(rendition.codec, rendition.channels))
    )


def _passes_text(track: OutlinedTrack[TextRendition], selection: Selection) -> bool:
    rendition = track.rendition
    return _passes_codec(rendition.codec, selection.codecs, frozenset(Codec) - PICTURES - SOUNDS) and _passes_language(
        rendition.language, selection.languages
    )


def _passes_codec(codec: Codec, named: frozenset[Codec], kind: frozenset[Codec]) -> bool:
    return codec in named or named.isdisjoint(kind)


def _passes_language(language: str, named: frozenset[str]) -> bool:
    """Basic filtering of language tags (RFC 4647, section 3.3.1)."""
    if not named:
        return True
    tag = language.lower()
    return tag in named or any(tag.startswith(f"{one}-") for one in named)


# --- reading terms ------------------------------------------------------------------------------------------------


def _span(text: str) -> Span:
    least, dots, most = text.partition("..")
    if not dots:
        number = _number(least)
        return Span(number, number)
    span = Span(_number(least) if least else None, _number(most) if most else None)
    if span == EVERYTHING or (span.least is not None and span.most is not None and span.least > span.most):
        raise ValueError
    return span


def _number(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError
    whole, part, unit = found.groups(default="")
    value = Fraction(int(whole + part), 10 ** len(part)) * _UNITS[unit]
    if value.denominator != 1:
        raise ValueError
    return int(value)


def _items(read: Callable[[str], Item]) -> Callable[[str], frozenset[Item]]:
    def read_all(text: str) -> frozenset[Item]:
        items: Iterable[str] = text.split(",")
        found = frozenset(map(read, items))
        if len(found) > MOST_ITEMS:
            raise ValueError
        return found

    return read_all


def _channel_count(text: str) -> int:
    count = _number(text)
    if not 0 < count <= 64:
        raise ValueError
    return count


def _language(text: str) -> str:
    tag = text.lower()
    if tag != UNDETERMINED and not _LANGUAGE.fullmatch(tag):
        raise ValueError
    return tag


def _device(text: str) -> str:
    if text not in devices.known():
        raise ValueError
    return text


def _answer(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError
    return text == "yes"


_TERMS: dict[str, tuple[str, Callable[[str], object], str]] = {
    "height": ("height_px", _span, "height is a range of pixels, such as ..1080 or 480..1080"),
    "rate": ("rate_bps", _span, "rate is a range of bits per second, such as ..6M or 500k..2.5M"),
    "codec": ("codecs", _items(Codec), f"codec is a list of {', '.join(Codec)}"),
    "lang": ("languages", _items(_language), "lang is a list of language tags, such as en,pt-br"),
    "channels": ("channels", _items(_channel_count), "channels is a list of numbers of channels, such as 2,6"),
    "hdr": ("hdr", _answer, "hdr is yes or no"),
    "device": ("device", _device, f"device is one of {', '.join(devices.known())}"),
}
