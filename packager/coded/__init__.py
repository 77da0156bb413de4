"""Finds the byte ranges of video samples that may be encrypted, by parsing slice, frame and tile headers.

Input: a sample as stored in MP4, and the decoder configuration of its track. Output: the byte ranges that hold only
entropy-coded data. Apple's decoders derive these ranges from the headers and ignore the subsample map, so one wrong
byte breaks the picture. Everything here is computed, without I/O.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from headend.core.errors import PackagingError
from packager.coded import av1, avc, hevc, vp9
from packager.coded.bits import Buffer, Ranges


class Reader(Protocol):
    """Finds the byte ranges of a track's samples that may be encrypted."""

    def reset(self) -> None:
        """Reset the state before a sync sample."""

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the entropy-coded data of a sample.

        Args:
            sample: One sample, in decoding order.

        Returns:
            Half-open byte ranges, in order.

        Raises:
            PackagingError: The sample is damaged, or uses a coding tool that headend's encoders don't use.
        """


CONFIGURATIONS: Mapping[str, tuple[str, Callable[[bytes], Reader]]] = {
    "avc1": ("avcC", avc.Avc),
    "hvc1": ("hvcC", hevc.Hevc),
    "av01": ("av1C", av1.Av1),
    "vp09": ("vpcC", vp9.Vp9),
}
"""Decoder configuration box and reader, by the type of the video sample entry."""


def reader(sample_entry: str, configuration: bytes) -> Reader:
    """Make a reader for a track.

    Args:
        sample_entry: Such as ``avc1``.
        configuration: Body of its configuration box.

    Raises:
        PackagingError: There is no reader for it, or the configuration is damaged.
    """
    if sample_entry not in CONFIGURATIONS:
        raise PackagingError(f"{sample_entry!r} video can't be encrypted; use one of {', '.join(CONFIGURATIONS)}")
    return CONFIGURATIONS[sample_entry][1](configuration)
