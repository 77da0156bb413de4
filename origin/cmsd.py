"""Common Media Server Data of a segment: the static part, for caches and players."""

from headend.core.track_index import TrackIndex

STATIC = "CMSD-Static"


def static(index: TrackIndex, number: int | None) -> str:
    """The value of the header ``CMSD-Static``.

    Args:
        index: The track's.
        number: The segment's; None for an init segment.

    Source:
        CTA-5006, section 3.1: br is the encoded rate in kbit/s, d the duration in milliseconds, ot the kind of object.
    """
    if number is None:
        return "ot=i,st=v,v=1"
    duration_ms = round(1000 * index.duration_ticks(number) / index.facts.timescale)
    kind = _KINDS.get(index.facts.content_type.partition("/")[0], "o")
    return f"br={-(-index.facts.average_bps // 1000)},d={duration_ms},ot={kind},st=v,v=1"


_KINDS = {"video": "v", "audio": "a", "text": "c", "application": "c"}
