"""Synthetic titles for the origin benchmark, and requests for them."""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import repeat
from pathlib import Path

from benchmarks.packaging import film_plan
from benchmarks.synthetic import presentation_of
from headend.core import documents, layout, track_index
from headend.core.access.tokens import Grant, Keyring, issue
from headend.core.media import Current, Track, VideoRendition
from headend.core.storage import Store
from packager.presentation import index_of
from packager.publishing import manifests, release_id

SEGMENTS = tuple((600 << 10) + number * (424 << 10) // 15 for number in range(16))
"""Sizes of the segments in bytes."""
STALLED = 100
"""Number of stalled clients."""
STALLED_BYTES = 1 << 20
"""Size of the segment that each stalled client requests; all are different."""
VARIED = 64
"""Number of different CMCD reports."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths of a published title.

    Attributes:
        segments: Segments with the sizes in `SEGMENTS`.
        stalled: `STALLED` segments of `STALLED_BYTES`.
        manifests: A media playlist and the multivariant playlist.
    """

    segments: tuple[str, ...]
    stalled: tuple[str, ...]
    manifests: tuple[str, ...]


def publish(store: Store, hours: float) -> Paths:
    """Publish a synthetic film with all manifests, and some segments of some renditions."""
    plan = film_plan(hours)
    presentation = presentation_of(plan)
    title = plan.title

    def put(track: Track[VideoRendition], sizes: Iterable[int]) -> tuple[Track[VideoRendition], list[str]]:
        written, keys = list(track.segments), []
        for place, size in zip(range(len(written)), sizes, strict=False):
            body = os.urandom(size)
            written[place] = replace(written[place], size_bytes=size, sha256=sha256(body).hexdigest())
            keys.append(layout.track_segment(title, track.id, written[place].number))
            store.put(keys[-1], body)
        return replace(track, segments=tuple(written)), keys

    first, *others = presentation.video
    track, segments = put(first, SEGMENTS)
    video = [track]
    stalled: list[str] = []
    for other in others:
        track, keys = put(other, repeat(STALLED_BYTES, STALLED - len(stalled)))
        video.append(track)
        stalled += keys
    for rendition in video:
        index, sync = index_of(rendition)
        store.put(layout.track_sync(title, rendition.id), sync)
        store.put(layout.track_index(title, rendition.id), track_index.encode(index))
    files = manifests(replace(presentation, video=tuple(video)))
    release = release_id(files)
    for name, data in files.items():
        store.put(f"{layout.release_path(title, release)}/{name}", data)
    store.put(layout.published(title), b"")
    store.put(layout.current(title), documents.write(Current(release, "2026-01-01T00:00:00+00:00", "", ())))
    listed = (layout.media_playlist(title, release, first.id), layout.multivariant(title, release))
    return Paths(*(tuple(key.removeprefix(layout.TITLES) for key in keys) for keys in (segments, stalled, listed)))


def make_copies(root: Path, title: str, count: int, segments: int) -> list[str]:
    """Make more titles from the same files, with hard links; returns paths of some segments of all copies."""
    found = []
    first = root / layout.title_path(title)
    for number in range(count):
        name = f"copy-{number:05}"
        shutil.copytree(first, root / layout.title_path(name), copy_function=os.link)
        (root / layout.published(name)).touch()
        places = sorted((root / layout.title_path(name) / "tracks").glob("*/1.m4s"))[:segments]
        found += [f"/{name}/tracks/{place.parent.name}/1.m4s" for place in places]
    return found


def with_tokens(paths: Iterable[str], keys: Keyring) -> tuple[str, ...]:
    """Return the same paths, prefixed with tokens for their titles."""
    expires_s = int(time.time()) + 24 * 3600
    tokens: dict[str, str] = {}
    for path in paths:
        title = path.split("/")[1]
        if title not in tokens:
            tokens[title] = issue(Grant(title, f"account-{title}", "one", expires_s, max_height_px=2160), keys)
    return tuple(f"/t/{tokens[path.split('/')[1]]}{path}" for path in paths)


def with_cmcd_reports(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the same paths with different CMCD reports, as players send them."""
    return tuple(
        f"{path}?CMCD=bl%3D{100 * number}%2Cbr%3D6000%2Cot%3Dv%2Cmtp%3D{25_000 + number}%2Csid%3D%22session-{number}%22"
        for number in range(VARIED)
        for path in paths
    )
