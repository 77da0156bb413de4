"""How a track is encrypted while it is cut: the interface of encryption, and the clear track that has none."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from packager.fragments import Sample, fragment_bytes
from packager.segmenting.cut import Cut


class Protector(Protocol):
    """Encrypts a track while it is being cut; see `packager.protecting`."""

    @property
    def init(self) -> bytes:
        """The init segment of the encrypted track."""

    @property
    def later_inits(self) -> tuple[bytes, ...]:
        """The init segments of later periods, if keys change."""

    @property
    def codec_string(self) -> str:
        """The codec string, if the init segment is encrypted as a whole; else empty."""

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Encrypt and write a fragment, like `fragment_bytes`.

        ``first`` is the index of its first sample in the title, ``segment`` the number of its segment.
        """

    def segment(self, body: bytes, number: int) -> bytes:
        """Encrypt a segment as a whole, if the scheme does that; otherwise return it unchanged."""


Protect = Callable[[bytes], Protector]
"""Creates a track's protector from its clear init segment."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Leaves a track unencrypted.

    Attributes:
        init: The init segment.
        codec_string: Empty, as the init segment can be read.
        later_inits: Empty.
    """

    init: bytes
    codec_string: ClassVar[str] = ""
    later_inits: ClassVar[tuple[bytes, ...]] = ()

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Write a fragment; see `Protector`."""
        del first, segment
        return fragment_bytes(sequence, decode_ticks, samples, media)

    def segment(self, body: bytes, number: int) -> bytes:
        """Return the segment unchanged; see `Protector`."""
        del number
        return body


def protected(cut: Cut, protector: Protector) -> Cut:
    """Complete a cut with the protector's data."""
    track = replace(
        cut.track,
        codec_string=protector.codec_string,
        later_inits=tuple(hashlib.sha256(init).hexdigest() for init in protector.later_inits),
    )
    return replace(cut, track=track, later_inits=protector.later_inits)
