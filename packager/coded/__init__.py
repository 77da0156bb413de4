"""Finds the protected ranges of coded pictures, with exact parsers of slice, frame and tile headers.

It takes a sample as stored in MP4, and the decoder configuration of its track. It returns the byte ranges with nothing
but entropy-coded data, which may be encrypted. Apple's decoders ignore the subsample map of encrypted samples and
derive the ranges from the headers, so one wrong byte breaks the picture. Everything here is pure.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from headend.core.errors import PackagingError
from packager.coded import av1, avc, hevc, vp9
from packager.coded.bits import Buffer, Ranges


class Reader(Protocol):
    """Finds the byte ranges of a track's samples that may be encrypted."""

    def start(self) -> None:
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
"""Decoder configuration box and reader, by the sample entry of pictures."""


def reader(sample_entry: str, configuration: bytes) -> Reader:
    """Make a reader for a track.

    Args:
        sample_entry: Such as ``avc1``.
        configuration: Body of its configuration box.

    Raises:
        PackagingError: There is no reader for it, or the configuration is damaged.
    """
    if sample_entry not in CONFIGURATIONS:
        raise PackagingError(f"pictures of {sample_entry!r} can't be encrypted; use one of {', '.join(CONFIGURATIONS)}")
    return CONFIGURATIONS[sample_entry][1](configuration)
