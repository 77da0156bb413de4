"""What every family is told and gives."""

from dataclasses import dataclass

from headend.media import Colour, ContentLight, Effort, MasteringDisplay

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
