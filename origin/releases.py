"""Releases and tracks in memory, as the origin needs them to find, verify and authorize their files."""

from dataclasses import dataclass
from datetime import datetime

from headend.core import documents, layout
from headend.core.manifests.outline import ReleaseOutline
from headend.core.manifests.selection import short_side_px
from headend.core.track_index import TrackIndex

_TRACK_BYTES = 2000
"""Approximate memory of one track in a release's outline."""
_RUN_BYTES = 120
"""Approximate memory of one run of equally long segments in a timeline."""


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """The file that a request asks for: of a release or of a track.

    Attributes:
        title: The title's slug.
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
class TokenFacts:
    """What token checks need to know about a track.

    It is much smaller than the track's index, so those of all tracks that are being watched stay in memory.

    Attributes:
        height_px: The picture's shorter side, which plans limit; 0 for sound and text.
        segment_s: Length of the first segment. All others are about as long, except the last.
    """

    height_px: int
    segment_s: float


@dataclass(frozen=True, slots=True)
class LoadedTrack:
    """A track, read from the store.

    Attributes:
        index: The track's index.
        published: When the index was written. It is the Last-Modified of all the track's files, which never change.
    """

    index: TrackIndex
    published: datetime

    @property
    def token_facts(self) -> TokenFacts:
        """What token checks need to know about the track."""
        facts = self.index.facts
        height_px = facts.short_side_px if facts.content_type.startswith("video/") else 0
        return TokenFacts(height_px, self.index.duration_ticks(1) / facts.timescale)


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """A release, read from the store.

    Attributes:
        published: When the outline was written. It is the Last-Modified of all the release's files, which never change.
        outline: The release's tracks and timelines, from which manifests are rendered.
        size_bytes: Approximate memory of this object.
        heights_px: The shorter sides of its renditions' pictures, ascending. Plans limit the shorter side, so that
            portrait pictures are treated like landscape ones.
    """

    published: datetime
    outline: ReleaseOutline
    size_bytes: int
    heights_px: tuple[int, ...]


def load_release(document: bytes, published: datetime, key: str) -> LoadedRelease:
    """Decode a release's outline.

    Args:
        document: The stored outline.
        published: When it was written.
        key: Its key, for errors.

    Raises:
        StorageError: The outline is damaged.
    """
    outline = documents.read(ReleaseOutline, document, key=key)
    runs = sum(len(timeline.runs) for timeline in outline.timelines)
    tracks = len(outline.played()) + sum(len((*copy.video, *copy.audio, *copy.trick)) for copy in outline.copies)
    heights_px = tuple(sorted({short_side_px(track.rendition) for track in outline.video}))
    return LoadedRelease(published, outline, _TRACK_BYTES * tracks + _RUN_BYTES * runs, heights_px)
