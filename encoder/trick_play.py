"""Trick play: renditions of one picture for each GOP, and sheets of thumbnails for seek bars.

Both are made beside the renditions of a chunk, from the frames that are decoded for these anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from headend.core.codecs import VIDEO
from headend.core.media import Poster, Thumbnails, VideoRange, VideoRendition
from headend.core.timing import Chunk, Grid

TRICK_CODECS = {one.codec: one.trick_crf for one in VIDEO if one.trick_crf is not None}
"""Codecs that have trick play renditions, with the highest CRF of each encoder."""
TRICK_LINES = 360
"""Enough for pictures that are seen for a fraction of a second, even on a television."""
TRICK_CRF = 6.0
"""Added to the factor of the rendition that it is derived from: about half the bits."""
TRICK_BPS = 200_000
"""Its highest rate: at eight times the speed, it needs what a small rendition needs."""
TILE_LINES = 180
"""What players show is about as high, on a screen of twice as many pixels; the usual 320x180 of wide pictures."""
MOST_TILES = 1200
"""Thumbnails of a title: more than a seek bar has pixels can't be told apart. Beyond, they are further apart."""
MOST_ON_SHEET = 30
"""A sheet is loaded whole for one thumbnail: a few hundred kilobytes, as long as one patiently waits."""
LONGEST_SIDE_PX = 4096
"""What every browser and television decodes as one picture."""

POSTER_LINES = 720
"""Enough for a page; sharp on most screens."""
POSTER_PLACES = (Fraction(1, 6), Fraction(1, 3), Fraction(1, 2))
"""How far into a title pictures are looked at: past logos, before the end is given away."""
MOST_CHUNKS_WITHIN = 6
"""With as many chunks, the start of one is near to each place."""


def trick_renditions(video: Sequence[VideoRendition], grid: Grid) -> tuple[VideoRendition, ...]:
    """Derive the renditions for trick play: the first frame of each GOP, each a sync frame.

    Players change to one from renditions of its own codec only, so that each codec has one, which takes after these.

    Args:
        video: The title's renditions.
        grid: Its grid.

    Returns:
        One for each codec that can be used so, of a size that is there already.

    Source:
        DASH-IF Interoperability Points, section 3.2.9.
    """
    families = ([r for r in video if r.codec is codec and r.video_range is VideoRange.SDR] for codec in TRICK_CODECS)
    return tuple(_trick_rendition(family, grid) for family in families if family)


def _trick_rendition(family: Sequence[VideoRendition], grid: Grid) -> VideoRendition:
    small = [r for r in family if _lines(r) <= TRICK_LINES]
    kin = max(small, key=lambda r: (_lines(r), r.average_bps)) if small else min(family, key=_lines)
    cap_bps = min(TRICK_BPS, kin.cap_bps)
    return replace(
        kin,
        id=f"{kin.codec}-{_lines(kin)}p-trick",
        frame_rate=grid.frame_rate / grid.gop_frames,
        rate_divisor=grid.gop_frames,
        average_bps=cap_bps // 2,
        cap_bps=cap_bps,
        # A picture may take what the rate gives for the time that it stands for.
        buffer_bits=int(cap_bps * grid.gop_frames / grid.frame_rate),
        crf=min(kin.crf + TRICK_CRF, TRICK_CODECS[kin.codec]),
        default=False,
    )


def lay_thumbnails(picture: VideoRendition, grid: Grid) -> Thumbnails:
    """Choose size, distance and sheets of a title's thumbnails.

    They are as near to each other as `MOST_TILES` allows, from one for each GOP on. Where there are several chunks,
    each is a whole number of sheets, so that its task makes them alone. Of what is possible then, the sheet with the
    most thumbnails is taken.

    Args:
        picture: Any rendition; its shape counts.
        grid: The title's grid.
    """
    lines = min(TILE_LINES, _lines(picture))
    width_px, height_px = (
        _even(side * Fraction(lines, _lines(picture))) for side in (picture.width_px, picture.height_px)
    )
    gops = -(-grid.frame_count // grid.gop_frames)
    whole = len(grid.chunks()) == 1
    ways = []
    for interval_gops, tiles in _layings(gops) if whole else _layings_within(grid.chunk_frames // grid.gop_frames):
        columns, rows = min(
            ((columns, tiles // columns) for columns in _divisors(tiles)),
            key=lambda shape: max(shape[0] * width_px, shape[1] * height_px),
        )
        if max(columns * width_px, rows * height_px) <= LONGEST_SIDE_PX:
            excess = max(0, -(-gops // interval_gops) - MOST_TILES)
            ways.append((excess, interval_gops, -tiles, columns, rows))
    _, interval_gops, _, columns, rows = min(ways)
    return Thumbnails(width_px, height_px, columns, rows, interval_gops * grid.gop_frames)


def _layings(gops: int) -> Iterator[tuple[int, int]]:
    """Distances of thumbnails, in GOPs, and how many a sheet may have, up to the first distance that is far enough."""
    for interval_gops in range(1, -(-gops // MOST_TILES) + 1):
        yield from ((interval_gops, tiles) for tiles in range(1, min(MOST_ON_SHEET, gops // interval_gops) + 1))


def _layings_within(chunk_gops: int) -> Iterator[tuple[int, int]]:
    """The same where a chunk is a whole number of sheets."""
    for sheet_gops in _divisors(chunk_gops):
        for interval_gops in _divisors(sheet_gops):
            if sheet_gops // interval_gops <= MOST_ON_SHEET:
                yield interval_gops, sheet_gops // interval_gops


def lay_poster(picture: VideoRendition, grid: Grid, chunks: Sequence[Chunk]) -> Poster:
    """Choose the frames of which one becomes the poster.

    Each begins a chunk, as far as there are enough of these: its task shows it at once, and need not run to its end.

    Args:
        picture: Any rendition; its shape counts.
        grid: The title's grid.
        chunks: Its chunks.
    """
    starts = [chunk.first_frame for chunk in chunks]
    lines = min(POSTER_LINES, _lines(picture))
    width_px, height_px = (
        _even(side * Fraction(lines, _lines(picture))) for side in (picture.width_px, picture.height_px)
    )
    wanted = [int(grid.frame_count * place) for place in POSTER_PLACES]
    if len(starts) >= MOST_CHUNKS_WITHIN:
        wanted = [max(start for start in starts if start <= frame) for frame in wanted]
    return Poster(width_px, height_px, tuple(sorted(set(wanted))))


def describe(trick: Sequence[VideoRendition], thumbnails: Thumbnails, grid: Grid) -> Iterator[str]:
    """What was decided, a line each."""
    if trick:
        yield f"trick play → {', '.join(r.id for r in trick)}: the first picture of each GOP"
    else:
        yield "trick play → no rendition of its own: the ladder has neither H.264 nor AV1 nor VP9 in SDR"
    every_s = float(thumbnails.interval_frames / grid.frame_rate)
    yield (
        f"thumbnails → {thumbnails.tile_width_px}x{thumbnails.tile_height_px} every {every_s:.3f} s, "
        f"{thumbnails.columns}x{thumbnails.rows} to a sheet: "
        f"at most {MOST_TILES:,} in a title, and a chunk is whole sheets"
    )


def _lines(rendition: VideoRendition) -> int:
    return min(rendition.width_px, rendition.height_px)


def _even(side_px: Fraction) -> int:
    return 2 * round(side_px / 2)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
