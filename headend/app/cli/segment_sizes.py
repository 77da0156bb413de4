"""Segment sizes of a store's titles, for simulations."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from cdn_sim.catalogue import StoredTitle, Track
from headend.core import layout, track_index
from headend.core.codecs import AUDIO, VIDEO
from headend.core.errors import ConfigError
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from headend.core.track_index import TrackIndex
from packager import reading

MAX_TITLES = 64
"""Number of titles that are read; more would hardly change the sizes."""
_VIDEO = {codec.sample_entry: str(codec.codec) for codec in VIDEO}
_AUDIO_ENTRIES = tuple(codec.sample_entry.lower() for codec in AUDIO)


def stored_titles(settings: StoreSettings) -> tuple[StoredTitle, ...]:
    """Read the sizes of the segments of a store's titles, with one read per track.

    Returns:
        The titles with the most common length of segments, since all titles of a simulation have the same.

    Raises:
        ConfigError: The store has no release.
        StorageError: The store can't be read.
    """
    store = open_store(settings)
    by_length: dict[float, list[StoredTitle]] = defaultdict(list)
    for title in sorted(reading.published_titles(store))[:MAX_TITLES]:
        if (stored := _read_title(store, title)) is not None:
            by_length[round(stored.segment_s, 1)].append(stored)
    if not by_length:
        raise ConfigError(f"catalogue.store: {settings.url} has no release; publish a title, or remove this key")
    return max(map(tuple, by_length.values()), key=len)


def stored_tracks(settings: StoreSettings, titles: Iterable[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return bytes and number of segments of all complete tracks of some titles, by title and track.

    Raises:
        StorageError: The store can't be read.
    """
    store = open_store(settings)
    return {
        (title, index.facts.track): (index.total_bytes, index.segment_count)
        for title in sorted(titles)
        for index in _indexes(store, title)
    }


def _read_title(store: Store, title: str) -> StoredTitle | None:
    """A title's pictures, and the first of its tracks of sound; None if it has no picture."""
    tracks: list[Track] = []
    sounds: list[Track] = []
    segment_s = 0.0
    for index in _indexes(store, title):
        codec = _VIDEO.get(index.facts.codec_string.partition(".")[0])
        is_sound = index.facts.codec_string.lower().startswith(_AUDIO_ENTRIES)
        if codec is not None:
            tracks.append(_track(codec, index))
        elif is_sound and not sounds:
            sounds.append(_track("sound", index))
        else:
            continue
        segment_s = max(segment_s, _segment_s(index))
    return StoredTitle(title, segment_s, (*tracks, *sounds)) if tracks else None


def _indexes(store: Store, title: str) -> Iterator[TrackIndex]:
    """The indexes of a title's complete tracks."""
    for key in store.keys(layout.tracks(title)):
        if key.endswith(f"/{layout.INDEX}"):
            yield track_index.decode(store.get(key), key=key)


def _track(codec: str, index: TrackIndex) -> Track:
    return Track(codec, index.facts.average_bps / 1000, tuple(index.sizes_bytes))


def _segment_s(index: TrackIndex) -> float:
    return (index.bounds_ticks[-1] - index.bounds_ticks[0]) / index.facts.timescale / index.segment_count
