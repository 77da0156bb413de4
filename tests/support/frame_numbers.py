"""Machine-readable frame numbers in pictures, even in small and badly compressed ones.

A grid of 10 × 6 cells covers the picture. The outer ring is background; the 8 × 4 cells inside hold 16 bits, the
highest at the top left, in two rows, and below them their complements. A bit is read by comparing its cell with its
complement's.
"""

import numpy as np
import numpy.typing as npt

COLUMNS, ROWS = 10, 6
BLACK, WHITE = 48, 208
LIMIT = 1 << 16
Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def draw_frame(number: int, width_px: int, height_px: int, *, noise: int = 4) -> bytes:
    """Draw a numbered frame as planar 4:2:0, 8 bits, limited range.

    Args:
        number: 0 to 65535.
        width_px: Width, even.
        height_px: Height, even.
        noise: Amplitude of the moving noise in luma; 0 for a picture that compresses to nothing.
    """
    assert 0 <= number < LIMIT
    x = np.arange(width_px, dtype=np.int32)
    ring = 80 + (x + 3 * number) * 96 // width_px % 96
    luma = np.broadcast_to(ring, (height_px, width_px)).copy()
    inside, bits = number_cells(number, width_px, height_px)
    luma[inside] = np.where(bits, WHITE, BLACK)
    if noise:
        luma += np.random.default_rng(number).integers(-noise, noise + 1, luma.shape, dtype=np.int32)
    chroma = np.full((height_px // 2, width_px // 2), 118 + number % 20, dtype=np.uint8)
    return luma.clip(16, 235).astype(np.uint8).tobytes() + chroma.tobytes() + (255 - chroma).tobytes()


def number_cells(
    number: int, width_px: int, height_px: int
) -> tuple[tuple[npt.NDArray[np.intp], ...], npt.NDArray[np.bool_]]:
    """Return the samples of a picture's number, and which of them are light."""
    rows, columns = np.arange(height_px) * ROWS // height_px, np.arange(width_px) * COLUMNS // width_px
    rows_in, columns_in = (rows >= 1) & (rows < ROWS - 1), (columns >= 1) & (columns < COLUMNS - 1)
    bits = _cells(number)[np.ix_(rows[rows_in] - 1, columns[columns_in] - 1)]
    return np.ix_(rows_in, columns_in), bits


def read_frame_number(luma: Plane, *, bit_depth: int = 8) -> int | None:
    """Read the number in a frame's luma plane, of any size.

    Returns:
        The number; None if a bit and its complement are too similar, because the picture is not a numbered
        frame or a mixture of two.
    """
    height, width = luma.shape
    samples = np.empty((ROWS - 2, COLUMNS - 2))
    for row in range(1, ROWS - 1):
        for column in range(1, COLUMNS - 1):
            top, left = (3 * row + 1) * height // (3 * ROWS), (3 * column + 1) * width // (3 * COLUMNS)
            bottom, right = (3 * row + 2) * height // (3 * ROWS), (3 * column + 2) * width // (3 * COLUMNS)
            samples[row - 1, column - 1] = luma[top : max(bottom, top + 1), left : max(right, left + 1)].mean()
    contrast = (samples[:2] - samples[2:]) / (1 << (bit_depth - 8))
    if np.abs(contrast).min() < (WHITE - BLACK) / 4:
        return None
    return int("".join("1" if bit else "0" for bit in (contrast > 0).ravel()), 2)


def _cells(number: int) -> npt.NDArray[np.bool_]:
    bits = np.array([bool(number >> bit & 1) for bit in reversed(range(16))]).reshape(2, COLUMNS - 2)
    return np.vstack([bits, ~bits])
