"""A picture in a report."""

from dataclasses import dataclass

from headend.core.media.quality import SegmentQuality
from headend.core.media.quality_reports import RenditionQuality


@dataclass(frozen=True, slots=True)
class Shown:
    """A segment of a rendition, at its worst frame.

    Attributes:
        rendition: The rendition.
        segment: The segment.
        jpeg: The master on the left, the rendition on the right.
    """

    rendition: RenditionQuality
    segment: SegmentQuality
    jpeg: bytes
