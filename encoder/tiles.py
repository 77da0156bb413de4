"""Measure the brightness of scenes from the thumbnails."""

from io import BytesIO

import av
import numpy as np

from headend.core.media import Thumbnails


def luma(sheet: bytes, layout: Thumbnails) -> tuple[float, ...]:
    """Mean luma, 0 to 1, of each thumbnail of a sheet, in order; unused tiles of the last sheet are black."""
    with av.open(BytesIO(sheet), "r") as container:
        frame = next(container.decode(video=0))
        grey = frame.to_ndarray(format="gray").astype(np.float64) / 255
    tiles = grey[: layout.rows * layout.tile_height_px, : layout.columns * layout.tile_width_px]
    by_tile = tiles.reshape(layout.rows, layout.tile_height_px, layout.columns, layout.tile_width_px)
    return tuple(float(value) for value in by_tile.mean(axis=(1, 3)).ravel())
