"""Checks manifests against the release's id, and against those that this version of headend would write."""

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
from packager.reading import read_all

_SHOWN_BYTES = 120


def references(key: str, manifest: bytes) -> Iterator[str]:
    """Paths, from the store's root, of all objects that a playlist or an MPD refers to; none for an outline.

    Args:
        key: The manifest's own path, which relative addresses are based on.
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
    entries = (
        *playlist.playlists,
        *playlist.iframe_playlists,
        *playlist.image_playlists,
        *playlist.media,
        *playlist.segments,
        *playlist.segment_map,
    )
    yield from (normpath(join(base, entry.uri)) for entry in entries)


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
    """The number of segments of equal duration (ISO/IEC 23009-1, section 5.3.9.2); times are rounded."""
    segment_us = Fraction(template.get("duration", "1")) / Fraction(template.get("timescale", "1")) * 1_000_000
    return ceil((total_us - 1) / segment_us)


def _microseconds(duration: str) -> Fraction:
    """Parse a duration in seconds, the form that `headend.core.manifests.dash` writes."""
    return Fraction(duration.removeprefix("PT").removesuffix("S")) * 1_000_000


def check_manifests(store: Store, presentation: Presentation, document: Release) -> Iterator[ObjectCheck]:
    """Check the stored manifests against the release's id, and against those that this headend would write."""
    title, release = presentation.title, presentation.release
    folder = layout.release_path(title, release)
    try:
        expected = manifests(presentation)
    except (ArithmeticError, ValueError, LookupError) as error:
        yield ObjectCheck(layout.release_document(title, release), 0, (f"manifests can't be written for it: {error}",))
        return
    if presentation.poster is not None:
        expected = {**expected, layout.POSTER_PICTURE: b""}
    objects = {name: get_object(store, f"{folder}/{name}") for name in expected}
    stored = {name: data for name, data in objects.items() if data is not None}
    keys = {f"{folder}/{name}" for name in stored} | _keys(store, presentation)
    same_version = document.software == __version__
    for name in expected:
        key = f"{folder}/{name}"
        if name not in stored:
            yield missing_object(key)
        elif name == layout.POSTER_PICTURE:
            yield ObjectCheck(key, len(stored[name]), ())
        elif same_version and stored[name] != expected[name]:
            yield ObjectCheck(key, len(stored[name]), (_first_difference(stored[name], expected[name]),))
        else:
            missing = [target for target in dict.fromkeys(references(key, stored[name])) if target not in keys]
            wrong = tuple(f"it refers to {target}, which is missing" for target in missing)
            yield ObjectCheck(key, len(stored[name]), wrong)
    poster = stored.pop(layout.POSTER_PICTURE, None)
    is_complete = len(stored) + (poster is not None) == len(expected)
    # If a line differs, that has been reported already, and says more.
    differs = same_version and any(stored[name] != expected[name] for name in stored)
    if is_complete and not differs and release_id(stored, poster) != release:
        yield ObjectCheck(folder, 0, ("the release's id does not match its manifests",))
    multivariant = expected[layout.MULTIVARIANT].decode()
    wrong = tuple(_low_bandwidths(multivariant, presentation))
    yield ObjectCheck(f"{folder}/{layout.MULTIVARIANT}", 0, wrong)


def _keys(store: Store, presentation: Presentation) -> set[str]:
    """The keys of all objects of a presentation's tracks."""
    folders = [f"{layout.track_path(presentation.title, track.id)}/" for track in stored_tracks(presentation)]
    listed = read_all(lambda folder: tuple(store.keys(folder)), folders)
    return {key for _, keys in listed for key in keys}


def _first_difference(stored: bytes, expected: bytes) -> str:
    pairs = zip_longest(stored.splitlines(), expected.splitlines(), fillvalue=b"")
    for number, (line, other) in enumerate(pairs, start=1):
        if line != other:
            return f"line {number} is {_shown(line)}, not {_shown(other)}"
    return "its line ends differ"


def _shown(line: bytes) -> str:
    return repr(line[:_SHOWN_BYTES].decode(errors="replace"))


def _low_bandwidths(multivariant: str, presentation: Presentation) -> Iterator[str]:
    """Variants that state a lower rate than measured from segment sizes; read with an independent parser."""
    peaks = {layout.media_playlist_name(t.id): max(t.segment_bps()) for t in presentation.all_tracks}
    playlist = m3u8.loads(multivariant)
    for variant in playlist.playlists:
        members = [media.uri for media in playlist.media if media.group_id == variant.stream_info.audio]
        measured = peaks[variant.uri] + max((peaks[uri] for uri in members), default=0)
        if variant.stream_info.bandwidth < measured:
            yield f"BANDWIDTH of {variant.uri} is {variant.stream_info.bandwidth}, but {measured:.0f} was measured"
