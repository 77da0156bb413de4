"""The codec strings of manifests, read from the sample entry of an init segment.

Source: RFC 6381 (the form); `headend.core.codecs` names the sources of each codec.
"""

import struct
from collections.abc import Callable

from headend.core import boxes
from headend.core.codecs import AUDIO, VIDEO, AudioCodec, ColourCodes, VideoCodec, media_codecs
from headend.core.errors import PackagingError
from headend.core.media import Codec

SAMPLE_ENTRIES = {
    **{codec.sample_entry: codec.codec for codec in media_codecs()},
    "wvtt": Codec.WVTT,
    "stpp": Codec.IMSC,
}
"""Sample entries that a release may have. ``hev1`` and ``avc3`` are left out: Apple's players reject the first, and
both allow parameter sets to change inside a track."""


def codec_of(init: bytes) -> Codec:
    """The codec of an init segment.

    Raises:
        PackagingError: A release can't have this sample entry.
    """
    kind = boxes.sample_entry(init).kind
    if kind not in SAMPLE_ENTRIES:
        raise PackagingError(f"sample entry {kind!r} can't be published; use one of {', '.join(SAMPLE_ENTRIES)}")
    return SAMPLE_ENTRIES[kind]


def codec_string(init: bytes) -> str:
    """The value of CODECS in HLS and of ``@codecs`` in DASH.

    Args:
        init: An init segment with one track.

    Returns:
        Such as ``avc1.640028``, ``hvc1.2.4.L120.90``, ``av01.0.08M.10``, ``vp09.00.40.08``, ``mp4a.40.2``, ``opus``.

    Raises:
        PackagingError: A release can't have this sample entry, or its configuration box is missing or cut short.
    """
    codec = codec_of(init)
    try:
        return _CODEC_STRINGS[codec](init)
    except (struct.error, IndexError, StopIteration) as error:
        raise PackagingError(f"the decoder configuration of the {codec} init segment is cut short") from error


def _configuration(init: bytes, kind: str) -> bytes:
    box = boxes.entry_box(init, kind)
    if box is None:
        raise PackagingError(f"the {boxes.sample_entry(init).kind} sample entry has no {kind} box")
    return bytes(init[box.body : box.end])


def _of_video(video: VideoCodec) -> Callable[[bytes], str]:
    return lambda init: video.codec_string(_configuration(init, video.configuration_box), _colour(init))


def _of_audio(audio: AudioCodec) -> Callable[[bytes], str]:
    return lambda init: audio.codec_string(_configuration(init, audio.configuration_box))


def _colour(init: bytes) -> ColourCodes:
    """Primaries, transfer, matrix (ITU-T H.273) and full-range flag of ``colr``; BT.709 if there is none."""
    box = boxes.entry_box(init, "colr")
    if box is None or init[box.body : box.body + 4] != b"nclx":
        return 1, 1, 1, 0
    primaries, transfer, matrix, flags = struct.unpack_from(">HHHB", init, box.body + 4)
    return primaries, transfer, matrix, flags >> 7


_CODEC_STRINGS: dict[Codec, Callable[[bytes], str]] = {
    **{video.codec: _of_video(video) for video in VIDEO},
    **{audio.codec: _of_audio(audio) for audio in AUDIO},
    Codec.WVTT: lambda _: "wvtt",
    # W3C, TTML Profile Registry: the text profile of IMSC 1.
    Codec.IMSC: lambda _: "stpp.ttml.im1t",
}
