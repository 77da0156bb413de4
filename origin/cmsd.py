"""Common Media Server Data (CMSD): the static header of a segment, for caches and players."""

from headend.core.timing import ceil_div
from headend.core.track_index import TrackIndex

STATIC = "CMSD-Static"
"""Name of the header."""


def static(index: TrackIndex, number: int | None) -> str:
    """The value of the header ``CMSD-Static``.

    Args:
        index: Index of the track.
        number: Number of the segment; None for an init segment.

    Source:
        CTA-5006, section 3.1: br is the encoded bitrate in kbit/s, d the duration in milliseconds, ot the object type.
    """
    if number is None:
        return "ot=i,st=v,v=1"
    duration_ms = round(1000 * index.duration_ticks(number) / index.facts.timescale)
    object_type = _OBJECT_TYPES.get(index.facts.content_type.partition("/")[0], "o")
    kbps = ceil_div(index.facts.average_bps, 1000)
    return f"br={kbps},d={duration_ms},ot={object_type},st=v,v=1"


_OBJECT_TYPES = {"video": "v", "audio": "a", "text": "c", "application": "c"}
