"""Selects the tracks that a manifest lists: by a query's filter, a device's profile, and a plan's limit.

The grammar, in ABNF (RFC 5234)::

    query    = term *( "&" term )
    term     = "height=" range / "rate=" range / "codec=" list / "lang=" list / "channels=" list
             / "hdr=" ( "yes" / "no" ) / "device=" name / other
    range    = number / number ".." / ".." number / number ".." number
    number   = 1*9DIGIT [ "." 1*3DIGIT ] [ "k" / "M" ]
    list     = item *31( "," item )

Other terms are ignored, so that CMCD and the like don't split a cache. Each term may occur once. The canonical form of
a filter is the same for all equivalent queries, so caches use it in their key.
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

MAX_TERM_CHARACTERS = 512
"""Longest value of a term, in characters."""
MAX_ITEMS = 32
"""Most items of a list."""

PICTURES = frozenset(video.codec for video in VIDEO)
SOUNDS = frozenset(audio.codec for audio in AUDIO)

_NUMBER = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?([kM]?)", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8}){0,4}", re.ASCII)
_UNITS = {"": 1, "k": 1000, "M": 1_000_000}

Item = TypeVar("Item")


class SelectionError(Exception):
    """A filter is malformed or leaves nothing to play. The message is a constant that states the reason."""


@dataclass(frozen=True, slots=True)
class Span:
    """A closed range of integers.

    Attributes:
        least: Lower bound; None for none.
        most: Upper bound; None for none.
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
    """A filter of tracks; the default selects all.

    Attributes:
        height_px: For pictures: range of the shorter side.
        rate_bps: For pictures: range of the peak rate.
        codecs: Codecs to select. If none of a kind of tracks is listed, all tracks of that kind are selected.
        languages: For sound and text: tags in lower case; each also selects more specific tags.
        channels: For sound: numbers of channels.
        hdr: For pictures: whether to select only HDR or only SDR; None for both.
        device: Name of a device's profile; empty for none.
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
        """The canonical form of equivalent queries, for cache keys; empty if it selects everything."""
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
    """Parse a filter from a query.

    Args:
        query: Without its question mark, percent-encoded.

    Raises:
        SelectionError: A known term is malformed, empty or occurs twice.
    """
    fields: dict[str, object] = {}
    for term in query.split("&"):
        name, _, value = term.partition("=")
        if name not in _TERMS:
            continue
        field, read, reason = _TERMS[name]
        if field in fields:
            raise SelectionError(f"{name} occurs twice")
        try:
            fields[field] = read(unquote(value) if len(value) <= MAX_TERM_CHARACTERS else "")
        except ValueError:
            raise SelectionError(reason) from None
    return replace(ALL, **fields) if fields else ALL  # type: ignore[arg-type]


def may_select(query: str) -> bool:
    """Whether a query has a term of a filter, which `parse` would read."""
    return any(term.partition("=")[0] in _TERMS for term in query.split("&"))


def terms(query: str, others: Collection[str] = ()) -> str:
    """The terms of a query that affect manifests, sorted, so that other terms don't split a cache.

    Args:
        query: Without its question mark.
        others: Names of relevant terms that are not part of a filter.
    """
    if not query:
        return ""
    return "&".join(sorted(t for t in query.split("&") if (name := t.partition("=")[0]) in _TERMS or name in others))


def select(outline: ReleaseOutline, selection: Selection, max_height_px: int | None = None) -> ReleaseOutline:
    """Apply a filter, and then a plan's limit, to a release.

    Args:
        outline: The release.
        selection: The filter.
        max_height_px: The plan's limit of the shorter side; None for none.

    Raises:
        SelectionError: No picture is left of a title with pictures, or no sound of one with sound.
    """
    device = devices.known_devices()[selection.device] if selection.device else None
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
    # Trick play tracks follow the selected pictures.
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
    """The side that height limits apply to; so portrait pictures are classified by their width."""
    return min(rendition.width_px, rendition.height_px)


def _passes_picture(track: OutlinedTrack[VideoRendition], selection: Selection, device: Device | None) -> bool:
    rendition = track.rendition
    is_hdr = rendition.video_range is not VideoRange.SDR
    return (
        short_side_px(rendition) in selection.height_px
        and _passes_codec(rendition.codec, selection.codecs, PICTURES)
        and selection.hdr in (None, is_hdr)
        and (device is None or device.plays_video(rendition.codec, short_side_px(rendition), is_hdr=is_hdr))
    )


def _passes_sound(track: OutlinedTrack[AudioRendition], selection: Selection, device: Device | None) -> bool:
    rendition = track.rendition
    return (
        _passes_codec(rendition.codec, selection.codecs, SOUNDS)
        and _passes_language(rendition.language, selection.languages)
        and (not selection.channels or rendition.channels in selection.channels)
        and (device is None or device.plays_audio(rendition.codec, rendition.channels))
    )


def _passes_text(track: OutlinedTrack[TextRendition], selection: Selection) -> bool:
    rendition = track.rendition
    return _passes_codec(rendition.codec, selection.codecs, frozenset(Codec) - PICTURES - SOUNDS) and _passes_language(
        rendition.language, selection.languages
    )


def _passes_codec(codec: Codec, selected: frozenset[Codec], kind: frozenset[Codec]) -> bool:
    return codec in selected or selected.isdisjoint(kind)


def _passes_language(language: str, selected: frozenset[str]) -> bool:
    """Basic filtering of language tags (RFC 4647, section 3.3.1)."""
    if not selected:
        return True
    tag = language.lower()
    return tag in selected or any(tag.startswith(f"{prefix}-") for prefix in selected)


# --- parsing of terms ---------------------------------------------------------------------------------------------


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
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError
    whole, part, unit = match.groups(default="")
    value = Fraction(int(whole + part), 10 ** len(part)) * _UNITS[unit]
    if value.denominator != 1:
        raise ValueError
    return int(value)


def _items(read: Callable[[str], Item]) -> Callable[[str], frozenset[Item]]:
    def read_all(text: str) -> frozenset[Item]:
        parts: Iterable[str] = text.split(",")
        items = frozenset(map(read, parts))
        if len(items) > MAX_ITEMS:
            raise ValueError
        return items

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
    if text not in devices.known_devices():
        raise ValueError
    return text


def _boolean(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError
    return text == "yes"


_TERMS: dict[str, tuple[str, Callable[[str], object], str]] = {
    "height": ("height_px", _span, "height is a range of pixels, such as ..1080 or 480..1080"),
    "rate": ("rate_bps", _span, "rate is a range of bits per second, such as ..6M or 500k..2.5M"),
    "codec": ("codecs", _items(Codec), f"codec is a list of {', '.join(Codec)}"),
    "lang": ("languages", _items(_language), "lang is a list of language tags, such as en,pt-br"),
    "channels": ("channels", _items(_channel_count), "channels is a list of numbers of channels, such as 2,6"),
    "hdr": ("hdr", _boolean, "hdr is yes or no"),
    "device": ("device", _device, f"device is one of {', '.join(devices.known_devices())}"),
}
