"""Segment sizes of a store's releases, for simulations."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from cdn_sim.catalogue import Release, Track
from headend.core import layout, track_index
from headend.core.codecs import AUDIO, VIDEO
from headend.core.errors import ConfigError
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from headend.core.track_index import TrackIndex
from packager import publishing

MAX_TITLES = 64
"""Number of titles that are read; more would hardly change the sizes."""
_CODECS = {codec.sample_entry: str(codec.codec) for codec in VIDEO}
_SOUND = tuple(codec.sample_entry.lower() for codec in AUDIO)


def releases_of(settings: StoreSettings) -> tuple[Release, ...]:
    """Read the renditions of a store's titles, with the sizes of their segments; one read per track.

    Args:
        settings: The store.

    Raises:
        ConfigError: The store has no release.
        StorageError: The store can't be read.
    """
    store = open_store(settings)
    found = []
    for title in sorted(publishing.titles(store))[:MAX_TITLES]:
        tracks = tuple(_tracks(store, title))
        if any(track.codec != "sound" for track, _ in tracks):
            seconds = max(segment_s for _, segment_s in tracks)
            found.append(Release(title, seconds, tuple(track for track, _ in tracks)))
    if not found:
        raise ConfigError(f"catalogue.store: {settings.url} has no release; publish a title, or remove this key")
    by_length: dict[float, list[Release]] = defaultdict(list)
    for release in found:
        by_length[round(release.segment_s, 1)].append(release)
    most_common = max(by_length.values(), key=lambda releases: len(tuple(releases)))
    return tuple(most_common)


def _tracks(store: Store, title: str) -> Iterator[tuple[Track, float]]:
    sound = False
    for key in store.keys(layout.tracks(title)):
        if not key.endswith(f"/{layout.INDEX}"):
            continue
        index = track_index.decode(store.get(key), key=key)
        codec = _CODECS.get(index.facts.codec_string.partition(".")[0], "")
        if not codec and index.facts.codec_string.lower().startswith(_SOUND) and not sound:
            codec, sound = "sound", True
        if codec:
            yield Track(codec, index.facts.average_bps / 1000, tuple(index.sizes_bytes)), _segment_s(index)


def _segment_s(index: TrackIndex) -> float:
    return (index.bounds_ticks[-1] - index.bounds_ticks[0]) / index.facts.timescale / index.segment_count


def stored_tracks(settings: StoreSettings, titles: Iterable[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return bytes and number of segments of all complete tracks of some titles, by title and track.

    Raises:
        StorageError: The store can't be read.
    """
    store = open_store(settings)
    found = {}
    for title in sorted(titles):
        for key in store.keys(layout.tracks(title)):
            if key.endswith(f"/{layout.INDEX}"):
                index = track_index.decode(store.get(key), key=key)
                found[title, index.facts.track] = index.total_bytes, index.segment_count
    return found
