"""What each kind of device plays, from ``devices.toml``, for players that don't filter by themselves."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from headend.core.media import Codec

DATA = Path(__file__).with_name("devices.toml")


@dataclass(frozen=True, slots=True)
class Line:
    """One codec that a kind of device plays.

    Attributes:
        codec: The codec.
        source: The page that documents it.
        max_height_px: Pictures: largest shorter side; 0 for sound.
        hdr: Pictures: whether HDR plays, too.
        max_channels: Sound: most channels; 0 for pictures.
    """

    codec: Codec
    source: str
    max_height_px: int = 0
    hdr: bool = False
    max_channels: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device.

    Attributes:
        name: Its name in queries.
        lines: What it plays.
    """

    name: str
    lines: tuple[Line, ...]

    def plays_picture(self, codec: Codec, short_side_px: int, *, is_hdr: bool) -> bool:
        """Whether it plays pictures of this codec, size and dynamic range."""
        return any(
            line.codec is codec and short_side_px <= line.max_height_px and (line.hdr or not is_hdr)
            for line in self.lines
        )

    def plays_sound(self, codec: Codec, channels: int) -> bool:
        """Whether it plays sound of this codec and number of channels."""
        return any(line.codec is codec and channels <= line.max_channels for line in self.lines)


@cache
def known() -> Mapping[str, Device]:
    """All kinds of devices, by name."""
    tables = msgspec.convert(tomllib.loads(DATA.read_text()), dict[str, tuple[Line, ...]])
    return {name: Device(name, lines) for name, lines in sorted(tables.items())}
