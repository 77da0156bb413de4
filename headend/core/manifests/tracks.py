"""Presentation times of tracks, for manifest writers."""

from headend.core.media import AnyTrack, Thumbnails, Track
from headend.core.timing import Grid


def presented_ticks(track: AnyTrack) -> tuple[int, ...]:
    """Presentation times of the start of each segment and of the track's end, in the track's timescale.

    Decode times count from the first coded sample, but the edit list skips the priming samples of sound. So later
    segments are presented earlier by the length of the priming, and the first segment starts at 0 and is shorter.

    Source:
        ISO/IEC 14496-12, section 8.6.6; ISO/IEC 23009-1, section 7.2.1: presentation time is after the edit list.
    """
    last = track.segments[-1]
    starts = [max(0, segment.start_ticks - track.priming_samples) for segment in track.segments]
    return (*starts, last.start_ticks + last.duration_ticks - track.priming_samples)


def sheet_bounds(thumbnails: Track[Thumbnails], grid: Grid) -> tuple[int, ...]:
    """The first frame of each sheet, and the title's frame count."""
    sheet_frames, count = thumbnails.rendition.sheet_frames, len(thumbnails.segments)
    return (*(number * sheet_frames for number in range(count)), grid.frame_count)
