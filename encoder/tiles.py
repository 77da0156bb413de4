"""Measure the brightness of scenes from thumbnails, which are made anyway."""

from io import BytesIO

import av
import numpy as np

from headend.core.media import Thumbnails


def luma(sheet: bytes, laid: Thumbnails) -> tuple[float, ...]:
    """Mean luma, 0 to 1, of each thumbnail of a sheet, in order; empty places of the last sheet are black."""
    with av.open(BytesIO(sheet), "r") as container:
        frame = next(container.decode(video=0))
        grey = frame.to_ndarray(format="gray").astype(np.float64) / 255
    tiles = grey[: laid.rows * laid.tile_height_px, : laid.columns * laid.tile_width_px]
    split = tiles.reshape(laid.rows, laid.tile_height_px, laid.columns, laid.tile_width_px)
    return tuple(float(value) for value in split.mean(axis=(1, 3)).ravel())
