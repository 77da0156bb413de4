"""Describe the quality floor: the score below which a chunk is encoded again with more bits."""

from collections.abc import Collection

from headend.core.codecs import VIDEO
from headend.core.media import Codec


def describe(vmaf: float, codecs: Collection[Codec]) -> str:
    """Describe the effect of a quality floor, as a line of the plan's decisions.

    Args:
        vmaf: The floor.
        codecs: The codecs of the title's SDR renditions.
    """
    if not codecs:
        return "floor → no effect: the title has no SDR rendition"
    return (
        f"floor → in the largest size of each codec, a chunk with a segment below VMAF {vmaf:g} is encoded again with "
        f"a constant rate factor lowered by {steps(codecs)}, unless that segment is at its cap"
    )


def steps(codecs: Collection[Codec]) -> str:
    """How much a floor lowers the constant rate factor, for at least one codec.

    Returns:
        Text such as ``4 (AV1 and VP9: 8)``; the first number is for all codecs that are not listed.
    """
    names: dict[float, list[str]] = {}
    for codec in VIDEO:
        if codec.codec in codecs:
            names.setdefault(codec.floor_step_crf, []).append(codec.label)
    first, *others = names
    exceptions = "; ".join(f"{' and '.join(names[step])}: {step:g}" for step in others)
    return f"{first:g} ({exceptions})" if exceptions else f"{first:g}"
