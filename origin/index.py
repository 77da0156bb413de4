"""The origin's in-memory index of releases and tracks, from which it serves and checks their files."""

from dataclasses import dataclass
from datetime import datetime

from headend.core import documents, layout
from headend.core.manifests.outline import ReleaseOutline
from headend.core.manifests.selection import short_side_px
from headend.core.track_index import TrackIndex

_TRACK_BYTES, _RUN_BYTES = 2000, 120
"""About what a track of a release, and a run of a timeline, take in memory."""


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
        """Where it is in the store."""
        if self.track is not None:
            return f"{layout.track_path(self.title, self.track)}/{self.name}"
        return f"{layout.release_path(self.title, self.release or '')}/{self.name}"


@dataclass(frozen=True, slots=True)
class Outline:
    """What checks of tokens need of a track: small, so that all tracks that are watched stay in memory.

    Attributes:
        height_px: Of pictures, the shorter side; 0 for all that a limit of heights does not concern.
        segment_s: Length of a segment: all but the last are about as long as the first.
    """

    height_px: int
    segment_s: float


@dataclass(frozen=True, slots=True)
class KnownTrack:
    """A track, as its index describes it.

    Attributes:
        index: The index.
        published: When it was written: the date of all files of the track, which never change.
    """

    index: TrackIndex
    published: datetime

    @property
    def outline(self) -> Outline:
        """What checks of tokens need of it."""
        facts = self.index.facts
        height_px = facts.short_side_px if facts.content_type.startswith("video/") else 0
        return Outline(height_px, self.index.duration_ticks(1) / facts.timescale)


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """What the origin keeps of a release.

    Attributes:
        published: When its outline was written: the date of all files of the release, which never change.
        outline: What its manifests are rendered from.
        size_bytes: About what it takes in memory.
        heights_px: Of its pictures, in ascending order: the shorter side, so that upright ones count as what they are.
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
