"""Codec descriptors, and the parameters of their functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from headend.core.media import AudioRendition, Codec, Colour, ContentLight, Effort, MasteringDisplay, VideoRendition

Options = dict[str, str | int | float]
"""FFmpeg output options, by name, without the dash."""


@dataclass(frozen=True, slots=True)
class Style:
    """Encoding parameters that all renditions of a title share, apart from the GOP length in frames.

    Attributes:
        effort: How much CPU time the encoder spends to save bits.
        gop_frames: GOP length, in frames of this rendition.
        colour: Primaries, transfer, matrix and range of the rendition; all are known.
        mastering_display: ST 2086 metadata to keep; HDR renditions only.
        content_light: MaxCLL and MaxFALL to keep; HDR renditions only.
    """

    effort: Effort
    gop_frames: int
    colour: Colour
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


def colon_list(**parameters: str | int | float) -> str:
    """Format parameters as ``name=value:name=value``, the syntax of encoder libraries; underscores become dashes."""
    return ":".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())


def lower_rate_options(options: Mapping[str, str | int | float], factors: Sequence[Fraction]) -> Options:
    """Options to encode a segment again that exceeded its cap, for an encoder with a rate model.

    The maximum rate and the buffer shrink in proportion. The constant rate factor stays, as it does not limit the rate
    of such a segment.

    Args:
        options: Options of the rendition.
        factors: For each earlier encode, the ratio of the cap to the rate that it reached.
    """
    shrunk = {name: int(int(options[name]) * prod(factors)) for name in ("maxrate", "bufsize")}
    return {**options, **shrunk}


@dataclass(frozen=True, slots=True)
class Level:
    """The limits of a codec's level.

    Attributes:
        name: Such as ``4.0``.
        max_picture: Maximum picture size: luma samples, or macroblocks if the codec counts blocks.
        max_per_second: Maximum luma samples or macroblocks per second.
        bit_rate_kbps: Maximum bit rate.
        buffer_kb: Maximum decoder buffer, in thousands of bits.
        width_px: Maximum width.
        height_px: Maximum height.
    """

    name: str
    max_picture: int
    max_per_second: int
    bit_rate_kbps: int
    buffer_kb: int
    width_px: int
    height_px: int


ColourCodes = tuple[int, int, int, int]
"""Primaries, transfer and matrix (ITU-T H.273), and the full-range flag."""


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """What other packages need to know about a video codec.

    Attributes:
        codec: Its enum value.
        label: Its display name.
        profiles: Profiles that renditions may have, each with its bit depth.
        levels: The levels, lowest first.
        block_px: Side of the blocks to which picture sizes are rounded up before they are compared with a level.
        counts_blocks: Whether levels limit the number of blocks rather than the number of samples.
        encoder: FFmpeg's name of the encoder.
        decoder: FFmpeg's name of the codec.
        options: FFmpeg output options of a rendition.
        lower_rate: Options to encode a segment again that exceeded its cap, from its first options and the ratio of cap
            to rate of each earlier encode.
        crf_limit: Highest constant rate factor of the encoder; the lowest is 1.
        whole_crf: Whether the encoder accepts whole numbers only.
        trial_crfs: Constant rate factors of the trial encodes at every size, when a title is analysed.
        coarsest_trial_crf: Factor of an additional trial at the smallest size, if the lowest rung needs it.
        finest_crf: Lowest factor of a rung: below it the rate grows without a visible gain.
        beyond_trials_crf: How far a rung's factor may lie outside the range of the trials.
        crf_scale: A function of the factor with which rate and quality change evenly, to interpolate between trials.
        floor_step_crf: How much to lower the factor when a chunk below the quality floor is encoded again.
        trick_crf: Highest factor for trick play; None if the codec has no trick play renditions.
        sample_entry: Four characters of the sample entry in MP4.
        configuration_box: Four characters of the box with the decoder configuration.
        codec_string: The codec string (RFC 6381) from the payload of that box and the colour codes of ``colr``.
        hls_rank: Rank by efficiency among the codecs of HLS, from 1, the least efficient; None if HLS does not support
            the codec.
        bound_shapes_quality: Whether a maximum rate changes how the encoder spends bits even below that rate. If so,
            trial encodes have a maximum rate, too.
        costs_like: Codec with a similar encoding time; its costs are used until the installation has measured this one.
        in_first_release: Whether every player decodes it, so that a first release may consist of it alone.
        in_cenc_copy: Whether old devices that can't decrypt ``cbcs`` decode it.
        in_aes_128: Whether players of HLS with ``aes-128`` decode it.
    """

    codec: Codec
    label: str
    profiles: tuple[tuple[str, int], ...]
    levels: tuple[Level, ...]
    block_px: int
    counts_blocks: bool
    encoder: str
    decoder: str
    options: Callable[[VideoRendition, Style], Options]
    lower_rate: Callable[[Mapping[str, str | int | float], Sequence[Fraction]], Options]
    crf_limit: int
    whole_crf: bool
    trial_crfs: tuple[float, ...]
    coarsest_trial_crf: float
    finest_crf: float
    beyond_trials_crf: float
    floor_step_crf: float
    trick_crf: float | None
    sample_entry: str
    configuration_box: str
    codec_string: Callable[[bytes, ColourCodes], str]
    hls_rank: int | None
    crf_scale: Callable[[float], float] = float
    bound_shapes_quality: bool = False
    costs_like: Codec | None = None
    in_first_release: bool = False
    in_cenc_copy: bool = False
    in_aes_128: bool = False


CICP_SCHEME = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
CICP_CHANNELS = {"2.0": "2", "5.1": "6"}
"""ISO/IEC 23091-3, ChannelConfiguration: code points of stereo and 5.1."""


@dataclass(frozen=True, slots=True)
class AudioCodec:
    """What other packages need to know about an audio codec.

    Attributes:
        codec: Its enum value.
        encoder: FFmpeg's name of the encoder.
        frame_samples: Samples per channel in each codec frame, at 48 kHz.
        options: FFmpeg output options of a rendition.
        sample_entry: Four characters of the sample entry in MP4.
        configuration_box: Four characters of the box with the decoder configuration.
        codec_string: The codec string (RFC 6381) from the payload of that box.
        in_hls: Whether HLS supports it.
        loudness_options: Options that write the loudness into the stream, from the dialnorm value or its placeholder;
            None if the codec's streams have no such field.
        rates_kbps: The only bit rates that the codec supports; None if it supports any.
        surround_fallback: Codec that a ladder must also offer in 5.1 if it has this one in 5.1; None for none.
        channel_scheme: URI of the scheme in which DASH states the channels.
        channel_values: Value in that scheme, by layout.
        costs_like: Codec with a similar encoding time; its costs are used until the installation has measured this one.
        in_first_release: Whether every player decodes it, so that a first release may consist of it alone.
        in_cenc_copy: Whether old devices that can't decrypt ``cbcs`` decode it.
        in_aes_128: Whether players of HLS with ``aes-128`` decode it.
    """

    codec: Codec
    encoder: str
    frame_samples: int
    options: Callable[[AudioRendition], Options]
    sample_entry: str
    configuration_box: str
    codec_string: Callable[[bytes], str]
    in_hls: bool
    loudness_options: Callable[[str], Options] | None = None
    rates_kbps: tuple[int, ...] | None = None
    surround_fallback: Codec | None = None
    channel_scheme: str = CICP_SCHEME
    channel_values: Mapping[str, str] = field(default_factory=CICP_CHANNELS.copy)
    costs_like: Codec | None = None
    in_first_release: bool = False
    in_cenc_copy: bool = False
    in_aes_128: bool = False
