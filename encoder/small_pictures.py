"""Small pictures of a film, which show black, frozen and wrong pictures whatever the quality: how FFmpeg makes them.

Each pixel is the mean of many, so it hardly shows grain or the artefacts of a low rate. Scored frames have pictures of
160×90, and narrow strips along the four edges of the screen. All other frames have blocks only: a single wrong frame
has no score.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIZE_PX = (160, 90)
"""Size of the small pictures."""
BLOCKS = (16, 9)
"""Number of blocks across and down."""
STRIP_PX = 2
"""Width of the strips on the screen: the narrowest line of chroma, so that a faulty line of two pixels fills them."""
EDGES = ("left", "right", "top", "bottom")
"""The edges, in the order of their strips."""
_STRIP_ROWS = 2
"""Rows of luma of a strip, for one row of chroma."""

Samples = npt.NDArray[np.uint16]
"""Samples at 10 bits."""


@dataclass(frozen=True, slots=True)
class SmallPictures:
    """Small pictures of a film.

    Attributes:
        luma: Of the scored frames: frames × height × width.
        chroma: Of these: frames × 2 × half the height × half the width.
        edges: Luma and chroma of these along the edges: frames × 3 × `EDGES` × half the width.
        blocks: Luma and chroma of the blocks of all frames: frames × 3 × rows × columns.
    """

    luma: Samples
    chroma: Samples
    edges: Samples
    blocks: Samples

    def __len__(self) -> int:
        """Number of scored frames."""
        return len(self.luma)

    def thinned(self, divisor: int) -> "SmallPictures":
        """Every ``divisor``-th frame, to compare with a rendition that has only these."""
        return SmallPictures(
            self.luma[::divisor], self.chroma[::divisor], self.edges[::divisor], self.blocks[::divisor]
        )


def filters(source: str, every: int, name: str) -> tuple[list[str], tuple[str, str]]:
    """Build filters that make small pictures.

    Args:
        source: Label of the frames, at the size of the screen.
        every: Distance from one scored frame to the next.
        name: Makes labels unique.

    Returns:
        The filter chains, and the labels of the pictures with their strips, and of the blocks.
    """
    width_px, height_px = SIZE_PX
    pictures, blocks = f"[pictures{name}]", f"[blocks{name}]"
    sides = [f"[{edge}{name}]" for edge in EDGES]
    crops = (
        f"crop={STRIP_PX}:ih:0:0,transpose",
        f"crop={STRIP_PX}:ih:iw-ow:0,transpose",
        f"crop=iw:{STRIP_PX}:0:0",
        f"crop=iw:{STRIP_PX}:0:ih-oh",
    )
    strips = [f"[strip{edge}{name}]" for edge in EDGES]
    graph = [
        f"{source}split=2[all{name}][some{name}]",
        f"[all{name}]scale={width_px}:{height_px}:flags=area,format=yuv420p10le,split=2[small{name}][coarse{name}]",
        f"[coarse{name}]scale={BLOCKS[0]}:{BLOCKS[1]}:flags=area,format=yuv444p10le{blocks}",
        f"[small{name}]framestep={every}[kept{name}]",
        f"[some{name}]framestep={every},split={len(EDGES)}{''.join(sides)}",
        *(
            f"{side}{crop},scale={width_px}:{_STRIP_ROWS}:flags=area{strip}"
            for side, crop, strip in zip(sides, crops, strips, strict=True)
        ),
        f"[kept{name}]{''.join(strips)}vstack={1 + len(EDGES)},format=yuv420p10le{pictures}",
    ]
    return graph, (pictures, blocks)


def read(pictures: Path, blocks: Path) -> SmallPictures:
    """Read what FFmpeg wrote; a file that is missing has no frames."""
    width_px, height_px = SIZE_PX
    rows = height_px + _STRIP_ROWS * len(EDGES)
    samples, coarse = _frames(pictures, width_px * rows * 3 // 2), _frames(blocks, 3 * BLOCKS[0] * BLOCKS[1])
    count = len(samples)
    luma = samples[:, : width_px * rows].reshape(count, rows, width_px)
    chroma = samples[:, width_px * rows :].reshape(count, 2, rows // 2, width_px // 2)
    strips = luma[:, height_px:].reshape(count, len(EDGES), _STRIP_ROWS, width_px // 2, 2).mean(axis=(2, 4))
    return SmallPictures(
        luma=luma[:, :height_px],
        chroma=chroma[:, :, : height_px // 2],
        edges=np.concatenate([strips[:, None].astype(np.uint16), chroma[:, :, height_px // 2 :]], axis=1),
        blocks=coarse.reshape(len(coarse), 3, BLOCKS[1], BLOCKS[0]),
    )


def _frames(path: Path, size: int) -> Samples:
    data = np.frombuffer(path.read_bytes() if path.exists() else b"", "<u2")
    count = data.size // size
    return data[: count * size].reshape(count, size)
