"""Checks that no rendition exceeds its cap."""

from collections.abc import Iterator

from headend.core import layout, rates
from headend.core.media import Presentation
from packager.conformance.findings import ObjectCheck

_SAMPLE_OVERHEAD_BYTES, _FRAGMENT_OVERHEAD_BYTES = 24, 64
"""Most bytes that encryption adds to a sample and to a fragment: a vector, a map of two entries, and three boxes."""


def check_peaks(presentation: Presentation) -> Iterator[ObjectCheck]:
    """Renditions that exceed their cap by more than the tolerance, each with its worst window."""
    grid = presentation.grid
    for track in (*presentation.video, *presentation.trick):
        rendition, segments = track.rendition, track.segments
        bound = rates.Bound(rendition.cap_bps, rendition.buffer_bits, grid.segment_frames / grid.frame_rate)
        # Caps apply to the encoded data, without the overhead of encryption.
        overhead = (_SAMPLE_OVERHEAD_BYTES, _FRAGMENT_OVERHEAD_BYTES) if track.kid else (0, 0)
        sizes = [s.size_bytes - overhead[0] * s.samples - overhead[1] * len(s.sync) for s in segments]
        durations = [s.duration_ticks for s in segments]
        worst = max(rates.windows(sizes, durations, track.timescale, bound), key=lambda window: window.rate_bps)
        if worst.rate_bps > bound.limit_bps:
            yield ObjectCheck(
                layout.track_segment(presentation.title, track.id, segments[worst.first].number),
                0,
                (
                    f"{worst.rate_bps // 1000} kb/s from here over {worst.end - worst.first} segment(s), more than "
                    f"{float(rates.LIMIT):g} times the rendition's cap of {rendition.cap_bps // 1000} kb/s",
                ),
            )
