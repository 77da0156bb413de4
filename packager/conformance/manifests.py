"""Check manifests: against the release's name, and against those that this headend would write."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import zip_longest
from math import ceil
from posixpath import dirname, join, normpath
from xml.etree import ElementTree as Xml

import m3u8

from headend import __version__
from headend.core import layout
from headend.core.manifests import dash
from headend.core.media import (
    Presentation,
    Release,
)
from headend.core.storage.base import Store
from packager.conformance.findings import ObjectCheck, get_object, missing_object
from packager.presentation import stored_tracks
from packager.publishing import manifests, release_id
from packager.stock import read_all

_SHOWN_BYTES = 120


def references(key: str, manifest: bytes) -> Iterator[str]:
    """Every object that a playlist or an MPD names, as paths from the store's root; an outline names none.

    Args:
        key: The manifest's own path, which its relative addresses start from.
        manifest: Its bytes.
    """
    base = dirname(key)
    if key.endswith(layout.OUTLINE):
        return
    if key.endswith(layout.DASH_SUFFIX):
        yield from (normpath(join(base, address)) for address in _addresses(Xml.fromstring(manifest)))
        return
    if key.endswith(layout.THUMBNAIL_INDEX):
        lines = manifest.decode().splitlines()
        yield from (normpath(join(base, line.partition("#")[0])) for line in lines if "#xywh=" in line)
        return
    playlist = m3u8.loads(manifest.decode())
    named = (
        *playlist.playlists,
        *playlist.iframe_playlists,
        *playlist.image_playlists,
        *playlist.media,
        *playlist.segments,
        *playlist.segment_map,
    )
    yield from (normpath(join(base, line.uri)) for line in named)


def _addresses(mpd: Xml.Element) -> Iterator[str]:
    names = {"": dash.NAMESPACE}
    periods = mpd.findall("Period", names)
    starts_us = [_microseconds(period.get("start", "")) for period in periods]
    ends_us = (*starts_us[1:], _microseconds(mpd.get("mediaPresentationDuration", "")))
    for period, start_us, end_us in zip(periods, starts_us, ends_us, strict=True):
        for adaptation_set in period.iterfind("AdaptationSet", names):
            for representation in adaptation_set.iterfind("Representation", names):
                template = representation.find("SegmentTemplate", names)
                if template is None:
                    template = adaptation_set.find("SegmentTemplate", names)
                if template is None:
                    continue
                id = representation.get("id", "")
                if template.get("duration"):
                    count = _even_count(template, end_us - start_us)
                else:
                    count = sum(1 + int(s.get("r", "0")) for s in template.iterfind("SegmentTimeline/S", names))
                    yield template.get("initialization", "").replace("$RepresentationID$", id)
                first = int(template.get("startNumber", "1"))
                for number in range(first, first + count):
                    yield template.get("media", "").replace("$RepresentationID$", id).replace("$Number$", str(number))


def _even_count(template: Xml.Element, total_us: Fraction) -> int:
    """How many segments of equal length there are (ISO/IEC 23009-1, section 5.3.9.2); times are rounded."""
    segment_us = Fraction(template.get("duration", "1")) / Fraction(template.get("timescale", "1")) * 1_000_000
    return ceil((total_us - 1) / segment_us)


def _microseconds(duration: str) -> Fraction:
    """A duration in seconds alone, as `headend.core.manifests.dash` writes it."""
    return Fraction(duration.removeprefix("PT").removesuffix("S")) * 1_000_000


def check_manifests(store: Store, presentation: Presentation, document: Release) -> Iterator[ObjectCheck]:
    """Hold the stored manifests against the release's name, and against those that this headend would write."""
    title, release = presentation.title, presentation.release
    folder = layout.release_path(title, release)
    try:
        wanted = manifests(presentation)
    except (ArithmeticError, ValueError, LookupError) as error:
        yield ObjectCheck(layout.release_document(title, release), 0, (f"no manifest can be made of it: {error}",))
        return
    if presentation.poster is not None:
        wanted = {**wanted, layout.POSTER_PICTURE: b""}
    stored = {name: get_object(store, f"{folder}/{name}") for name in wanted}
    there = {name: data for name, data in stored.items() if data is not None}
    keys = {f"{folder}/{name}" for name in there} | _keys(store, presentation)
    same = document.software == __version__
    for name in wanted:
        key = f"{folder}/{name}"
        if name not in there:
            yield missing_object(key)
        elif name == layout.POSTER_PICTURE:
            yield ObjectCheck(key, len(there[name]), ())
        elif same and there[name] != wanted[name]:
            yield ObjectCheck(key, len(there[name]), (_first_difference(there[name], wanted[name]),))
        else:
            missing = [named for named in dict.fromkeys(references(key, there[name])) if named not in keys]
            yield ObjectCheck(key, len(there[name]), tuple(f"it names {named}, which is missing" for named in missing))
    poster = there.pop(layout.POSTER_PICTURE, None)
    complete = len(there) + (poster is not None) == len(wanted)
    # Where a line can be told, that says more.
    differs = same and any(there[name] != wanted[name] for name in there)
    if complete and not differs and release_id(there, poster) != release:
        yield ObjectCheck(folder, 0, ("its manifests are not those that gave the release its name",))
    yield ObjectCheck(
        f"{folder}/{layout.MULTIVARIANT}", 0, tuple(_low_bandwidths(wanted[layout.MULTIVARIANT].decode(), presentation))
    )


def _keys(store: Store, presentation: Presentation) -> set[str]:
    """The keys of all objects of a presentation's tracks."""
    folders = [f"{layout.track_path(presentation.title, track.id)}/" for track in stored_tracks(presentation)]
    listed = read_all(lambda folder: tuple(store.keys(folder)), folders)
    return {key for _, keys in listed for key in keys}


def _first_difference(stored: bytes, wanted: bytes) -> str:
    pairs = zip_longest(stored.splitlines(), wanted.splitlines(), fillvalue=b"")
    for number, (line, other) in enumerate(pairs, start=1):
        if line != other:
            return f"line {number} is {_shown(line)}, not {_shown(other)}"
    return "its line ends are not as they were written"


def _shown(line: bytes) -> str:
    return repr(line[:_SHOWN_BYTES].decode(errors="replace"))


def _low_bandwidths(multivariant: str, presentation: Presentation) -> Iterator[str]:
    """Variants that promise less than a player may meet: held against segment sizes, with another parser."""
    peaks = {layout.media_playlist_name(t.id): max(t.segment_bps()) for t in presentation.all_tracks}
    playlist = m3u8.loads(multivariant)
    for variant in playlist.playlists:
        members = [media.uri for media in playlist.media if media.group_id == variant.stream_info.audio]
        measured = peaks[variant.uri] + max((peaks[uri] for uri in members), default=0)
        if variant.stream_info.bandwidth < measured:
            yield f"BANDWIDTH of {variant.uri} is {variant.stream_info.bandwidth}, but {measured:.0f} was measured"
