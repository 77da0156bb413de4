"""Times that manifest writers derive from tracks."""

from headend.core.media import AnyTrack, Thumbnails, Track
from headend.core.timing import Grid


def presented_ticks(track: AnyTrack) -> tuple[int, ...]:
    """When each segment starts for the viewer and, last, when the track ends, in the track's timescale.

    Decode times count from the first coded sample. The edit list drops the priming at the front of sound, so all that
    follows is presented that much earlier, and the first segment starts at 0 with that much less in it.

    Source:
        ISO/IEC 14496-12, section 8.6.6; ISO/IEC 23009-1, section 7.2.1: presentation time is after the edit list.
    """
    last = track.segments[-1]
    starts = [max(0, segment.start_ticks - track.priming_samples) for segment in track.segments]
    return (*starts, last.start_ticks + last.duration_ticks - track.priming_samples)


def sheet_bounds(thumbnails: Track[Thumbnails], grid: Grid) -> tuple[int, ...]:
    """First frame of each sheet and, last, the title's frame count."""
    laid = thumbnails.rendition
    return (*(place * laid.sheet_frames for place in range(len(thumbnails.segments))), grid.frame_count)
