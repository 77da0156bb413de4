"""Trick play: renditions with one picture for each GOP, sheets of thumbnails for seek bars, and the poster.

All are made together with the renditions of a chunk, from frames that are decoded anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from headend.core.codecs import VIDEO
from headend.core.media import Poster, Thumbnails, VideoRange, VideoRendition
from headend.core.timing import Chunk, Grid, ceil_div

TRICK_CODECS = {codec.codec: codec.trick_crf for codec in VIDEO if codec.trick_crf is not None}
"""Codecs that have trick play renditions, with the highest CRF of each encoder."""
TRICK_LINES = 360
"""Height of trick play: enough for pictures that are visible for a fraction of a second, even on a television."""
TRICK_CRF_OFFSET = 6.0
"""Added to the constant rate factor of the base rendition; it halves the bits, roughly."""
MAX_TRICK_BPS = 200_000
"""Maximum rate of trick play: at eight times the speed, a player needs as much as for a small rendition."""
TILE_LINES = 180
"""Height of a thumbnail: players show about this many lines; 320x180 is usual for wide pictures."""
MAX_THUMBNAILS = 1200
"""Maximum number of thumbnails: about as many as a seek bar has pixels. In long titles, intervals are larger."""
MAX_TILES = 30
"""Maximum number of thumbnails on a sheet. Players load a whole sheet for one thumbnail: a few hundred kilobytes."""
MAX_SIDE_PX = 4096
"""Longest side of a picture that every browser and television decodes."""

POSTER_LINES = 720
"""Height of the poster: sharp on most screens."""
POSTER_POSITIONS = (Fraction(1, 6), Fraction(1, 3), Fraction(1, 2))
"""Positions of the candidates for the poster, as shares of the title: after logos, and before the ending."""
MIN_CHUNKS_TO_ALIGN = 6
"""If there are at least this many chunks, each candidate is moved to the start of its chunk, which is close enough."""


def trick_renditions(video: Sequence[VideoRendition], grid: Grid) -> tuple[VideoRendition, ...]:
    """Derive the renditions for trick play, which have only the first frame of each GOP, as a sync frame.

    Players only switch to trick play of the same codec, so each codec has its own, derived from its renditions.

    Args:
        video: The title's renditions.
        grid: The title's grid.

    Returns:
        One for each codec that supports trick play, in the size of an existing rendition.

    Source:
        DASH-IF Interoperability Points, section 3.2.9.
    """
    families = ([r for r in video if r.codec is codec and r.video_range is VideoRange.SDR] for codec in TRICK_CODECS)
    return tuple(_trick_rendition(family, grid) for family in families if family)


def _trick_rendition(family: Sequence[VideoRendition], grid: Grid) -> VideoRendition:
    small = [r for r in family if _lines(r) <= TRICK_LINES]
    base = max(small, key=lambda r: (_lines(r), r.average_bps)) if small else min(family, key=_lines)
    cap_bps = min(MAX_TRICK_BPS, base.cap_bps)
    return replace(
        base,
        id=f"{base.codec}-{_lines(base)}p-trick",
        frame_rate=grid.frame_rate / grid.gop_frames,
        rate_divisor=grid.gop_frames,
        average_bps=cap_bps // 2,
        cap_bps=cap_bps,
        # A picture may use all the bits of its GOP's duration.
        buffer_bits=int(cap_bps * grid.gop_frames / grid.frame_rate),
        crf=min(base.crf + TRICK_CRF_OFFSET, TRICK_CODECS[base.codec]),
        default=False,
    )


def choose_thumbnails(picture: VideoRendition, grid: Grid) -> Thumbnails:
    """Choose size, interval and sheets of a title's thumbnails.

    The interval is the smallest number of GOPs that `MAX_THUMBNAILS` allows. If there are several chunks, each has a
    whole number of sheets, so that one task makes all of a sheet. Among the possible layouts, the one with the most
    thumbnails on a sheet is chosen.

    Args:
        picture: Any rendition; only its aspect ratio matters.
        grid: The title's grid.
    """
    lines = min(TILE_LINES, _lines(picture))
    width_px, height_px = (
        _round_to_even(side * Fraction(lines, _lines(picture))) for side in (picture.width_px, picture.height_px)
    )
    gops = ceil_div(grid.frame_count, grid.gop_frames)
    candidates = []
    if len(grid.chunks()) == 1:
        layouts = _sheet_layouts(gops)
    else:
        layouts = _sheet_layouts_in_chunk(grid.chunk_frames // grid.gop_frames)
    for interval_gops, tiles in layouts:
        columns, rows = min(
            ((columns, tiles // columns) for columns in _divisors(tiles)),
            key=lambda shape: max(shape[0] * width_px, shape[1] * height_px),
        )
        if max(columns * width_px, rows * height_px) <= MAX_SIDE_PX:
            excess = max(0, ceil_div(gops, interval_gops) - MAX_THUMBNAILS)
            candidates.append((excess, interval_gops, -tiles, columns, rows))
    _, interval_gops, _, columns, rows = min(candidates)
    return Thumbnails(width_px, height_px, columns, rows, interval_gops * grid.gop_frames)


def _sheet_layouts(gops: int) -> Iterator[tuple[int, int]]:
    """Possible pairs of interval, in GOPs, and number of thumbnails on a sheet."""
    for interval_gops in range(1, ceil_div(gops, MAX_THUMBNAILS) + 1):
        yield from ((interval_gops, tiles) for tiles in range(1, min(MAX_TILES, gops // interval_gops) + 1))


def _sheet_layouts_in_chunk(chunk_gops: int) -> Iterator[tuple[int, int]]:
    """Possible pairs for titles with several chunks, each with a whole number of sheets."""
    for sheet_gops in _divisors(chunk_gops):
        for interval_gops in _divisors(sheet_gops):
            if sheet_gops // interval_gops <= MAX_TILES:
                yield interval_gops, sheet_gops // interval_gops


def choose_poster(picture: VideoRendition, grid: Grid, chunks: Sequence[Chunk]) -> Poster:
    """Choose the frames that are candidates for the poster.

    If there are enough chunks, each candidate is the first frame of one.

    Args:
        picture: Any rendition; only its aspect ratio matters.
        grid: The title's grid.
        chunks: The title's chunks.
    """
    starts = [chunk.first_frame for chunk in chunks]
    lines = min(POSTER_LINES, _lines(picture))
    width_px, height_px = (
        _round_to_even(side * Fraction(lines, _lines(picture))) for side in (picture.width_px, picture.height_px)
    )
    frames = [int(grid.frame_count * position) for position in POSTER_POSITIONS]
    if len(starts) >= MIN_CHUNKS_TO_ALIGN:
        frames = [max(start for start in starts if start <= frame) for frame in frames]
    return Poster(width_px, height_px, tuple(sorted(set(frames))))


def describe(trick: Sequence[VideoRendition], thumbnails: Thumbnails, grid: Grid) -> Iterator[str]:
    """Describe trick play and thumbnails, a line for each decision."""
    if trick:
        yield f"trick play → {', '.join(r.id for r in trick)}: the first picture of each GOP"
    else:
        yield "trick play → no rendition of its own: the ladder has neither H.264 nor AV1 nor VP9 in SDR"
    every_s = float(thumbnails.interval_frames / grid.frame_rate)
    yield (
        f"thumbnails → {thumbnails.tile_width_px}x{thumbnails.tile_height_px} every {every_s:.3f} s, "
        f"{thumbnails.columns}x{thumbnails.rows} to a sheet: "
        f"at most {MAX_THUMBNAILS:,} in a title, and whole sheets in each chunk"
    )


def _lines(rendition: VideoRendition) -> int:
    return min(rendition.width_px, rendition.height_px)


def _round_to_even(side_px: Fraction) -> int:
    return 2 * round(side_px / 2)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
