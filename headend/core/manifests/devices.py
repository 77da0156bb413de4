"""The codecs, sizes and channels that each type of device plays, from ``devices.toml``.

A manifest request with ``device=NAME`` lists only what the device plays: some players fail on renditions that they
can't decode instead of ignoring them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from headend.core.media import Codec

DATA = Path(__file__).with_name("devices.toml")


@dataclass(frozen=True, slots=True)
class CodecSupport:
    """A codec that a type of device plays, with its limits.

    Attributes:
        codec: The codec.
        source: The page that documents it.
        max_height_px: Video only: the largest picture, measured on its shorter side.
        hdr: Video only: whether the device also plays HDR.
        max_channels: Audio only: the largest number of channels.
    """

    codec: Codec
    source: str
    max_height_px: int = 0
    hdr: bool = False
    max_channels: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A type of device.

    Attributes:
        name: Its name in queries.
        codecs: The codecs that it plays.
    """

    name: str
    codecs: tuple[CodecSupport, ...]

    def plays_video(self, codec: Codec, short_side_px: int, *, is_hdr: bool) -> bool:
        """Whether it plays video of this codec, size and dynamic range."""
        return any(
            supported.codec is codec and short_side_px <= supported.max_height_px and (supported.hdr or not is_hdr)
            for supported in self.codecs
        )

    def plays_audio(self, codec: Codec, channels: int) -> bool:
        """Whether it plays audio of this codec and number of channels."""
        return any(supported.codec is codec and channels <= supported.max_channels for supported in self.codecs)


@cache
def known_devices() -> Mapping[str, Device]:
    """All types of devices, by name."""
    tables = msgspec.convert(tomllib.loads(DATA.read_text()), dict[str, tuple[CodecSupport, ...]])
    return {name: Device(name, codecs) for name, codecs in sorted(tables.items())}
