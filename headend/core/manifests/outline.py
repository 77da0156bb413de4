"""Outlines: the input of manifest writers, a presentation without its individual segments.

Publishing stores a release's outline next to its manifests. Servers read it to render manifests of selected tracks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Generic

from headend.core.manifests.tracks import presented_ticks, sheet_bounds
from headend.core.media import (
    AnyTrack,
    AudioRendition,
    Presentation,
    Protection,
    TextRendition,
    Thumbnails,
    Track,
    VideoRendition,
)
from headend.core.media.releases import Rendition
from headend.core.timing import Grid, ceil_div

SECOND = 1_000_000
"""Ticks per second of durations in playlists: microseconds."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Presentation times of a track's segments; many tracks share a timeline.

    Attributes:
        timescale: Ticks per second.
        runs: Runs of segments of equal duration, from the start of the title: number of segments, and ticks of each.
    """

    timescale: int
    runs: tuple[tuple[int, int], ...]

    @property
    def longest_s(self) -> Fraction:
        """The longest segment's duration."""
        return Fraction(max(ticks for _, ticks in self.runs), self.timescale)


@dataclass(frozen=True, slots=True)
class OutlinedTrack(Generic[Rendition]):
    """A track as manifests describe it, without its segments.

    Attributes:
        id: The track's id.
        rendition: Its rendition, with the labels of this release.
        codec_string: RFC 6381.
        timeline: Index of its timeline in the outline.
        peak_bps: Rate of the segment with the highest rate.
        average_bps: Mean rate of all segments.
        image_peak_bps: For video, the peak rate of its sync frames alone; for thumbnails, that of their sheets.
        image_average_bps: The average rate of the same.
        kid: Id of its key; empty for a clear track.
        later_kids: Ids of its keys in later periods.
    """

    id: str
    rendition: Rendition
    codec_string: str
    timeline: int
    peak_bps: int
    average_bps: int
    image_peak_bps: int = 0
    image_average_bps: int = 0
    kid: str = ""
    later_kids: tuple[str, ...] = ()

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of its keys, one per period; empty for a clear track."""
        return (self.kid, *self.later_kids) if self.kid else ()


AnyOutlined = OutlinedTrack[VideoRendition] | OutlinedTrack[AudioRendition] | OutlinedTrack[TextRendition]
"""Tracks that players choose from."""


@dataclass(frozen=True, slots=True)
class OutlinedCopy:
    """The tracks of a release in another encryption scheme.

    Attributes:
        protection: The scheme and its keys.
        video: Video tracks, as in the release.
        audio: Audio tracks, as in the release.
        trick: Trick play tracks, as in the release; empty if byte ranges can't be decrypted on their own.
    """

    protection: Protection
    video: tuple[OutlinedTrack[VideoRendition], ...]
    audio: tuple[OutlinedTrack[AudioRendition], ...]
    trick: tuple[OutlinedTrack[VideoRendition], ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseOutline:
    """A title as manifests describe it.

    Attributes:
        title: Catalogue entry.
        grid: Segment boundaries.
        timelines: The timelines of all tracks, without duplicates.
        video: Video tracks, best first within a codec.
        audio: Audio tracks.
        trick: Trick play tracks, with one picture per GOP.
        text: Text tracks.
        thumbnails: Sheets of thumbnails; None if there are none.
        protection: Encryption of video, audio and trick play tracks; None for a clear title.
        copies: The same tracks in other schemes.
    """

    title: str
    grid: Grid
    timelines: tuple[Timeline, ...]
    video: tuple[OutlinedTrack[VideoRendition], ...]
    audio: tuple[OutlinedTrack[AudioRendition], ...]
    trick: tuple[OutlinedTrack[VideoRendition], ...] = ()
    text: tuple[OutlinedTrack[TextRendition], ...] = ()
    thumbnails: OutlinedTrack[Thumbnails] | None = None
    protection: Protection | None = None
    copies: tuple[OutlinedCopy, ...] = ()

    def played(self) -> tuple[AnyOutlined, ...]:
        """Tracks that are played: video, trick play, audio, then text."""
        return (*self.video, *self.trick, *self.audio, *self.text)


def outline_of(presentation: Presentation) -> ReleaseOutline:
    """Summarize a presentation for manifests, without its segments."""
    indices: dict[Timeline, int] = {}

    def index(timeline: Timeline) -> int:
        return indices.setdefault(timeline, len(indices))

    def plain(track: Track[Rendition], timeline: Timeline, image: tuple[int, int] = (0, 0)) -> OutlinedTrack[Rendition]:
        return OutlinedTrack(
            track.id,
            track.rendition,
            track.codec_string,
            index(timeline),
            track.peak_bps,
            track.average_bps,
            *image,
            kid=track.kid,
            later_kids=track.later_kids,
        )

    def picture(track: Track[VideoRendition]) -> OutlinedTrack[VideoRendition]:
        sizes = [size for segment in track.segments for _, size in segment.sync]
        return plain(track, _timeline(track), _rates(sizes, sync_durations(track, presentation.grid)))

    sheets = presentation.thumbnails
    outlined = None
    if sheets is not None:
        sizes = [sheet.size_bytes for sheet in sheets.segments]
        ticks = (segment.duration_ticks for segment in sheets.segments)
        image = _rates(sizes, sheet_durations(sheets, presentation.grid))
        outlined = plain(sheets, Timeline(sheets.timescale, runs_of(ticks)), image)
    video, trick = tuple(map(picture, presentation.video)), tuple(map(picture, presentation.trick))
    audio = tuple(plain(track, _timeline(track)) for track in presentation.audio)
    text = tuple(plain(track, _timeline(track)) for track in presentation.text)
    copies = tuple(
        OutlinedCopy(
            copy.protection,
            tuple(map(picture, copy.video)),
            tuple(plain(track, _timeline(track)) for track in copy.audio),
            tuple(map(picture, copy.trick)),
        )
        for copy in presentation.copies
    )
    return ReleaseOutline(
        presentation.title,
        presentation.grid,
        tuple(indices),
        video,
        audio,
        trick,
        text,
        outlined,
        presentation.protection,
        copies,
    )


def microseconds(numerator: int, denominator: int) -> int:
    """A fraction of seconds, rounded to the nearest microsecond."""
    return (2 * numerator * SECOND + denominator) // (2 * denominator)


def differences(times: Iterable[int]) -> list[int]:
    """The difference between each time and the next."""
    return [end - start for start, end in pairwise(times)]


def sheet_durations(thumbnails: Track[Thumbnails], grid: Grid) -> list[int]:
    """The duration of each sheet of thumbnails, in microseconds."""
    rate = grid.frame_rate
    bounds = sheet_bounds(thumbnails, grid)
    return differences(microseconds(frame * rate.denominator, rate.numerator) for frame in bounds)


def sync_durations(track: Track[VideoRendition], grid: Grid) -> list[int]:
    """The time from each sync frame to the next, in microseconds."""
    rate = grid.frame_rate
    frames = (n for first, end in pairwise(grid.segment_bounds()) for n in range(first, end, grid.gop_frames))
    starts = (microseconds(frame * rate.denominator, rate.numerator) for frame in frames)
    return differences([*starts, microseconds(presented_ticks(track)[-1], track.timescale)])


def _timeline(track: AnyTrack) -> Timeline:
    return Timeline(track.timescale, runs_of(differences(presented_ticks(track))))


def runs_of(durations: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Runs of equal durations: how many in a row, and the duration of each."""
    return tuple((sum(1 for _ in run), ticks) for ticks, run in groupby(durations))


def _rates(sizes: Sequence[int], durations: Sequence[int]) -> tuple[int, int]:
    """Peak and average rate. If the last item is shorter than half the longest one, it is merged with the previous one.

    Source:
        RFC 8216bis, section 2: the peak segment bit rate is that of a run of 0.5 to 1.5 target durations.
    """
    if not sizes:
        return 0, 0
    runs = list(zip(sizes, durations, strict=True))
    mean = _bps(sum(sizes), sum(durations))
    if len(runs) > 1 and 2 * durations[-1] < max(durations):
        runs[-1] = (sizes[-2] + sizes[-1], durations[-2] + durations[-1])
    return max(_bps(size, duration) for size, duration in runs), mean


def _bps(size_bytes: int, duration: int) -> int:
    return ceil_div(8 * size_bytes * SECOND, duration)
