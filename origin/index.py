"""What the origin keeps in memory of each release: what it needs to serve and check its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from headend import layout
from headend.media import AudioRendition, Codec, Presentation, TextRendition, Track, VideoRendition
from origin.policy import WEBVTT_TYPE

POSTER = "poster.jpg"
"""The name of a release's poster."""

_AnyTrack = Track[VideoRendition] | Track[AudioRendition] | Track[TextRendition]
_SEGMENT_BYTES_IN_MEMORY = 160


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a release.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        rendition: None for files of the release itself.
        name: The file's name.
    """

    title: str
    release: str
    rendition: str | None
    name: str

    @property
    def key(self) -> str:
        """Where it is in the store."""
        if self.rendition is None:
            return f"{layout.release_path(self.title, self.release)}/{self.name}"
        return f"{layout.rendition_path(self.title, self.release, self.rendition)}/{self.name}"


@dataclass(frozen=True, slots=True)
class RenditionIndex:
    """What a release says of a rendition.

    Attributes:
        content_type: Of its init segment and media segments. Thumbnails count as a rendition: their sheets are its
            segments.
        init_bytes: Size of the init segment.
        segments: SHA-256 and size of each media segment, in order.
        height_px: Of pictures, the shorter side, so that upright ones count as what they are; 0 for sound and text.
    """

    content_type: str
    init_bytes: int
    segments: tuple[tuple[bytes, int], ...]
    height_px: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """What the origin keeps of a release's document.

    Attributes:
        published: When the document was written: the date of all files of the release, which never change.
        renditions: By id.
        segment_s: Length of a segment.
    """

    published: datetime
    renditions: dict[str, RenditionIndex]
    segment_s: float

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return _SEGMENT_BYTES_IN_MEMORY * sum(len(r.segments) + 2 for r in self.renditions.values())


def index_of(presentation: Presentation, published: datetime) -> ReleaseIndex:
    """Keep what is needed of a release's document."""
    kinds: tuple[tuple[str, Sequence[_AnyTrack]], ...] = (
        ("video", (*presentation.video, *presentation.trick)),
        ("audio", presentation.audio),
        ("application", presentation.text),
    )
    renditions = {
        track.rendition.id: RenditionIndex(
            WEBVTT_TYPE if track.rendition.codec is Codec.VTT else f"{kind}/mp4",
            track.init_bytes,
            tuple((bytes.fromhex(s.sha256), s.size_bytes) for s in track.segments),
            _height_px(track.rendition),
        )
        for kind, tracks in kinds
        for track in tracks
    }
    if presentation.sheets:
        sheets = tuple((bytes.fromhex(sheet.sha256), sheet.size_bytes) for sheet in presentation.sheets)
        renditions[layout.THUMBNAILS] = RenditionIndex("image/jpeg", 0, sheets)
    return ReleaseIndex(published, renditions, float(presentation.grid.segment_frames / presentation.grid.frame_rate))


def _height_px(rendition: VideoRendition | AudioRendition | TextRendition) -> int:
    return min(rendition.width_px, rendition.height_px) if isinstance(rendition, VideoRendition) else 0
