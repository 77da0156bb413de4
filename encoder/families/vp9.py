"""VP9 by libvpx."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod

from encoder.families.base import Options, Style
from headend.core.media import Effort, VideoRendition

# The real-time mode gives up hidden reference frames and is four times faster than the fastest other one.
PRESETS = {Effort.DRAFT: ("realtime", 7), Effort.STANDARD: ("good", 5), Effort.HIGH: ("good", 2)}
AIM = 0.95
"""Average of a segment that is encoded again, as a share of its cap: the encoder misses its aim by a few per cent."""


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one VP9 rendition."""
    deadline, speed = PRESETS[style.effort]
    # Two passes take a tenth off the bits at equal quality (docs/adr/0026); the real-time mode knows only one.
    passes: Options = {} if style.effort is Effort.DRAFT else {"pass": 2}
    return {
        "c:v": "libvpx-vp9",
        "deadline": deadline,
        "cpu-used": speed,
        # "Constrained quality": CRF holds the quality, the bit rate bounds the average of a chunk.
        # Peaks are not bounded: a worker encodes what came out above maxrate again.
        "crf": rendition.crf,
        "b:v": rendition.cap_bps,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        **passes,
        "profile:v": rendition.profile,
        "g": style.gop_frames,
        "keyint_min": style.gop_frames,
        "threads": 1,
        "row-mt": 0,
        # Tiles let players decode large pictures on several cores; a tile is at least 256 pixels wide.
        "tile-columns": max(0, (rendition.width_px // 512).bit_length() - 1),
    }


def tighter(options: Mapping[str, str | int | float], factors: Sequence[Fraction]) -> Options:
    """Options for a segment whose rate was too high: two passes towards an average below the cap.

    Args:
        options: Those of the rendition.
        factors: By how much each encode before was too large: cap over rate. The first tells nothing here, since it was
            not made towards an average.
    """
    cap_bps = int(options["maxrate"])
    scale = float(prod(factors[1:]))
    changed = {name: value for name, value in options.items() if name != "crf"}
    if changed["deadline"] == "realtime":
        changed |= {"deadline": "good", "cpu-used": 5}
    return changed | {
        "b:v": int(AIM * scale * cap_bps),
        "maxrate": int(scale * cap_bps),
        "bufsize": int(scale * int(options["bufsize"])),
        "pass": 2,
    }
