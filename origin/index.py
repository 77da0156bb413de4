"""What the origin keeps in memory of releases and tracks: what it needs to serve and check their files."""

from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as Xml

from headend import layout
from headend.errors import StorageError
from headend.track_index import TrackIndex

_DASH = "{urn:mpeg:dash:schema:mpd:2011}"
_ENTRY_BYTES = 200
"""About what a track of a release takes in memory."""


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
        published: When its MPD was written: the date of all files of the release, which never change.
        heights_px: Of its pictures, by the ids of their tracks: the shorter side, so that upright ones count as what
            they are.
    """

    published: datetime
    heights_px: dict[str, int]

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return _ENTRY_BYTES * (1 + len(self.heights_px))


def index_of(mpd: bytes, published: datetime, key: str) -> ReleaseIndex:
    """Keep what is needed of a release's MPD, which names all of its pictures.

    Raises:
        StorageError: It is damaged.
    """
    try:
        root = Xml.fromstring(mpd)
        heights = {
            picture.get("id", ""): min(int(picture.get("width", "0")), int(picture.get("height", "0")))
            for adaptation_set in root.iterfind(f"{_DASH}Period/{_DASH}AdaptationSet")
            if adaptation_set.get("contentType") == "video"
            for picture in adaptation_set.iterfind(f"{_DASH}Representation")
        }
    except (Xml.ParseError, ValueError) as error:
        raise StorageError(f"{key} is damaged: {error}; run headend repackage on its title", key=key) from error
    return ReleaseIndex(published, heights)
