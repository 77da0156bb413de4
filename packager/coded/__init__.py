"""Where protected data begins in coded pictures: exact readers of slice, frame and tile headers.

Comes in: a sample as it lies in MP4, and the decoder configuration of its track. Goes out: the ranges of bytes that
hold nothing but entropy-coded data, which may be encrypted. Apple's decoders ignore the map that is sent with encrypted
samples and derive the same ranges from the headers, so one wrong byte shows as broken pictures. All of this is pure.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from headend.core.errors import PackagingError
from packager.coded import av1, avc, hevc, vp9
from packager.coded.bits import Buffer, Ranges


class Reader(Protocol):
    """Finds what may be encrypted in the pictures of a track."""

    def start(self) -> None:
        """Forget earlier pictures: the next sample is a sync sample."""

    def ranges(self, sample: Buffer) -> Ranges:
        """Find the entropy-coded data of a sample.

        Args:
            sample: One sample, in decoding order.

        Returns:
            Half-open ranges of bytes, in order.

        Raises:
            PackagingError: The sample is damaged, or uses a tool that no encoder of headend's uses.
        """


CONFIGURATIONS: Mapping[str, tuple[str, Callable[[bytes], Reader]]] = {
    "avc1": ("avcC", avc.Avc),
    "hvc1": ("hvcC", hevc.Hevc),
    "av01": ("av1C", av1.Av1),
    "vp09": ("vpcC", vp9.Vp9),
}
"""The box of the decoder configuration and the reader for each sample entry of pictures."""


def reader(sample_entry: str, configuration: bytes) -> Reader:
    """Make the reader for a track.

    Args:
        sample_entry: Such as ``avc1``.
        configuration: The body of its configuration box.

    Raises:
        PackagingError: There is no reader for it, or the configuration is damaged.
    """
    if sample_entry not in CONFIGURATIONS:
        raise PackagingError(f"pictures of {sample_entry!r} can't be encrypted; use one of {', '.join(CONFIGURATIONS)}")
    return CONFIGURATIONS[sample_entry][1](configuration)
