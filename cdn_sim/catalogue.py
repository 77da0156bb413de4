"""The objects of all titles: segment counts, and the size of each segment in each rendition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.model import Catalogue, Device
from cdn_sim.streams import stream_of, uniform
from headend.core.errors import ConfigError

LADDERS: dict[str, dict[str, tuple[float, ...]]] = {
    "web": {
        "avc": (365, 730, 2000, 3000, 4500, 6000),
        "hevc": (300, 600, 1600, 2400, 3400, 4500),
        "av1": (240, 480, 1200, 1900, 2800, 3800),
        "vp9": (310, 620, 1650, 2500, 3500, 4700),
    },
    "hd-only": {"avc": (2000, 3500, 6000)},
    "one": {"avc": (3000,)},
}
"""Synthetic ladders: bitrates in kbit/s by codec, ascending."""


@dataclass(frozen=True, slots=True)
class Track:
    """One rendition of a stored title.

    Attributes:
        codec: ``avc``, ``hevc``, ``av1``, ``vp9``, or ``sound``.
        kbps: Average bitrate.
        sizes_bytes: Size of each segment.
    """

    codec: str
    kbps: float
    sizes_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredTitle:
    """One title of a store, with the tracks that players may request.

    Attributes:
        title: The title's slug.
        segment_s: Length of a segment.
        tracks: The renditions.
    """

    title: str
    segment_s: float
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects (segments) of a run, numbered without gaps.

    The object of a title's rendition r and segment k is ``bases[title] + r * segments[title] + k``. A later
    version of a title has its own first object instead of ``bases[title]``.

    Attributes:
        sizes: int32, bytes of each object.
        bases: int64, first object of each title's first version.
        segments: int32, segments of each title.
        rates: kbit/s by device and quality, padded with 0.
        counts: Number of qualities by device.
        firsts: First rendition by device; a device's qualities are consecutive renditions.
        renditions: Number of renditions per title, sound included.
        sound: Rendition of the sound; -1 if there is none.
        segment_ms: Length of a segment.
        extra: Title and first object of each later version, in the order of publication.
    """

    sizes: Array
    bases: Array
    segments: Array
    rates: Array
    counts: Array
    firsts: Array
    renditions: int
    sound: int
    segment_ms: float
    extra: tuple[tuple[int, int], ...]

    @property
    def library_bytes(self) -> int:
        """Bytes of all titles, in their first version."""
        return int(self.sizes[: self._end].astype(np.int64).sum())

    @property
    def _end(self) -> int:
        return int(self.bases[-1] + self.segments[-1] * self.renditions)

    def title_bytes(self) -> Array:
        """Bytes by title and rendition."""
        rows = np.zeros((len(self.bases), self.renditions))
        for title, (base, count) in enumerate(zip(self.bases, self.segments, strict=True)):
            block = self.sizes[base : base + count * self.renditions].reshape(self.renditions, count)
            rows[title] = block.sum(axis=1)
        return rows


def _ladders(
    catalogue: Catalogue, devices: Sequence[Device], stored_titles: Sequence[StoredTitle]
) -> list[list[float]]:
    """Bitrates that each device plays, from the synthetic ladder or the first stored title."""
    ladders = []
    for device in devices:
        if stored_titles:
            rates = sorted(track.kbps for track in stored_titles[0].tracks if track.codec == device.codec)
        else:
            rates = list(LADDERS[catalogue.ladder].get(device.codec, ()))
        rates = [rate for rate in rates if device.most_kbps is None or rate <= device.most_kbps] or rates[:1]
        if not rates:
            raise ConfigError(f"viewers.devices: no release has {device.codec} renditions; leave the device out")
        ladders.append(rates)
    return ladders


def build(
    catalogue: Catalogue,
    devices: Sequence[Device],
    titles: int,
    seed: int,
    *,
    republished: Sequence[int] = (),
    stored_titles: Sequence[StoredTitle] = (),
) -> Objects:
    """Number all objects and set their sizes.

    Args:
        catalogue: The scenario's catalogue.
        devices: Devices; only renditions that they play get objects.
        titles: Number of titles in the whole run.
        seed: Seed of the run.
        republished: Titles that are published again, in this order.
        stored_titles: Titles of a store, whose segment sizes the simulated titles get in turn. Simulated titles with
            the same stored title get its sizes rotated by a random number of segments. Without stored titles, sizes
            are synthetic.

    Raises:
        ConfigError: No stored title has a device's codec, or there are too many objects.
    """
    ladders = _ladders(catalogue, devices, stored_titles)
    width = max(map(len, ladders))
    rates = np.zeros((len(ladders), width))
    firsts = np.zeros(len(ladders), dtype=np.int64)
    renditions: list[tuple[str, float]] = []
    for number, (device, ladder) in enumerate(zip(devices, ladders, strict=True)):
        own = [(device.codec, rate) for rate in ladder]
        positions = range(len(renditions))
        start = next((at for at in positions if renditions[at : at + len(own)] == own), len(renditions))
        renditions += own if start == len(renditions) else []
        firsts[number], rates[number, : len(ladder)] = start, ladder
    sound = len(renditions) if catalogue.sound_kbps > 0 else -1
    if sound >= 0:
        renditions.append(("sound", catalogue.sound_kbps))
    segment_s = stored_titles[0].segment_s if stored_titles else catalogue.segment_s
    blocks, segments = [], np.zeros(titles, dtype=np.int32)
    for title in range(titles):
        if stored_titles:
            block = _sizes_from_store(renditions, stored_titles, title, seed)
        else:
            block = _synthetic_sizes(renditions, catalogue, title, seed)
        segments[title] = block.shape[1]
        blocks.append(block.ravel())
    lengths = np.array([len(block) for block in blocks], dtype=np.int64)
    bases = np.cumsum(lengths) - lengths
    end, extra = int(lengths.sum()), []
    for title in republished:
        extra.append((title, end))
        blocks.append(blocks[title])
        end += int(lengths[title])
    if end >= 1 << 31:
        raise ConfigError("catalogue.titles: more than 2,147,483,647 objects; simulate fewer titles or shorter ones")
    return Objects(
        np.concatenate(blocks),
        bases,
        segments,
        rates,
        np.array([len(ladder) for ladder in ladders], dtype=np.int64),
        firsts,
        len(renditions),
        sound,
        segment_s * 1000.0,
        tuple(extra),
    )


def _synthetic_sizes(renditions: Sequence[tuple[str, float]], catalogue: Catalogue, title: int, seed: int) -> Array:
    """Sizes by rendition and segment; a segment has 0.6 to 1.4 times the average rate, the same in all renditions."""
    shortest, longest = catalogue.minutes
    minutes = shortest + (longest - shortest) * float(uniform(stream_of(seed, "lengths of titles"), [title])[0])
    count = max(1, round(minutes * 60 / catalogue.segment_s))
    scenes = 0.6 + 0.8 * uniform(stream_of(seed, "scenes"), np.arange(count) + (title << 20))
    steady = np.ones(count)
    rows = [rate * 125.0 * catalogue.segment_s * (steady if codec == "sound" else scenes) for codec, rate in renditions]
    return np.array(rows).astype(np.int32)


def _sizes_from_store(
    renditions: Sequence[tuple[str, float]], stored_titles: Sequence[StoredTitle], title: int, seed: int
) -> Array:
    """Sizes by rendition and segment; one that is not stored gets the sizes of the one nearest in rate."""
    stored = stored_titles[title % len(stored_titles)]
    count = max(len(track.sizes_bytes) for track in stored.tracks)
    shift = int(uniform(stream_of(seed, "turns of titles"), [title])[0] * count) if title >= len(stored_titles) else 0
    rows = []
    for codec, rate in renditions:
        candidates = [track for track in stored.tracks if track.codec == codec]
        if not candidates:
            candidates = [track for track in stored.tracks if track.codec != "sound"] or list(stored.tracks)
        track = min(candidates, key=lambda each: (abs(each.kbps - rate), each.kbps))
        rows.append(np.roll(np.resize(np.array(track.sizes_bytes, dtype=np.int64), count), shift))
    return np.array(rows).astype(np.int32)
