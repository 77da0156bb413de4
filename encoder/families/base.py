"""What every family is told and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from headend.core.media import Colour, ContentLight, Effort, MasteringDisplay

Options = dict[str, str | int | float]
"""FFmpeg output options, by name, without the dash."""


@dataclass(frozen=True, slots=True)
class Style:
    """What is the same for every rendition of one codec of a title.

    Attributes:
        effort: How much work the encoder does.
        gop_frames: Sync frame distance, in frames of this rendition.
        colour: How the rendition's numbers become light; nothing in it is unknown.
        mastering_display: ST 2086 metadata to keep; HDR renditions only.
        content_light: MaxCLL and MaxFALL to keep; HDR renditions only.
    """

    effort: Effort
    gop_frames: int
    colour: Colour
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


def colon_list(**parameters: str | int | float) -> str:
    """Write ``name=value:name=value``, underscores as dashes: how encoder libraries take their own parameters."""
    return ":".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())


def tighter_buffer(options: Mapping[str, str | int | float], factors: Sequence[Fraction]) -> Options:
    """Options for a segment whose rate was too high, of an encoder that keeps a rate model.

    Maximal rate and buffer shrink together; the constant rate factor stays, as it is not what bounds such a segment.

    Args:
        options: Those of the rendition.
        factors: By how much each encode before was too large: cap over rate.
    """
    shrunk = {name: int(int(options[name]) * prod(factors)) for name in ("maxrate", "bufsize")}
    return {**options, **shrunk}
