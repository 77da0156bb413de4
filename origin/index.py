"""The origin's in-memory index of releases and tracks, used to serve and verify their files."""

from dataclasses import dataclass
from datetime import datetime

from headend.core import documents, layout
from headend.core.manifests.outline import ReleaseOutline
from headend.core.manifests.selection import short_side_px
from headend.core.track_index import TrackIndex

_TRACK_BYTES, _RUN_BYTES = 2000, 120
"""Approximate memory of a release's track, and of a run in a timeline."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a release or of a track.

    Attributes:
        title: Catalogue entry.
        release: The release's id; None for files of tracks.
        track: The track's id; None for files of releases.
        name: The file's name.
    """

    title: str
    release: str | None
    track: str | None
    name: str

    @property
    def key(self) -> str:
        """The file's key in the store."""
        if self.track is not None:
            return f"{layout.track_path(self.title, self.track)}/{self.name}"
        return f"{layout.release_path(self.title, self.release or '')}/{self.name}"


@dataclass(frozen=True, slots=True)
class Outline:
    """The part of a track that token checks need: small, so that those of all watched tracks stay in memory.

    Attributes:
        height_px: The picture's shorter side; 0 for tracks without pictures, which no height limit concerns.
        segment_s: Length of a segment; all but the last are about as long as the first.
    """

    height_px: int
    segment_s: float


@dataclass(frozen=True, slots=True)
class KnownTrack:
    """A track whose index has been read.

    Attributes:
        index: The index.
        published: When the index was written; the date of all the track's files, which never change.
    """

    index: TrackIndex
    published: datetime

    @property
    def outline(self) -> Outline:
        """The part that token checks need."""
        facts = self.index.facts
        height_px = facts.short_side_px if facts.content_type.startswith("video/") else 0
        return Outline(height_px, self.index.duration_ticks(1) / facts.timescale)


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """A release whose outline has been read.

    Attributes:
        published: When the outline was written; the date of all the release's files, which never change.
        outline: The outline that manifests are rendered from.
        size_bytes: Approximate memory.
        heights_px: Shorter sides of its pictures, ascending, so that portrait pictures are limited like others.
    """

    published: datetime
    outline: ReleaseOutline
    size_bytes: int
    heights_px: tuple[int, ...]


def index_of(document: bytes, published: datetime, key: str) -> ReleaseIndex:
    """Read a release's outline.

    Raises:
        StorageError: It is damaged.
    """
    outline = documents.read(ReleaseOutline, document, key=key)
    runs = sum(len(timeline.runs) for timeline in outline.timelines)
    tracks = len(outline.played()) + sum(len((*copy.video, *copy.audio, *copy.trick)) for copy in outline.copies)
    heights_px = tuple(sorted({short_side_px(track.rendition) for track in outline.video}))
    return ReleaseIndex(published, outline, _TRACK_BYTES * tracks + _RUN_BYTES * runs, heights_px)
