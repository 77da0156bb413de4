"""H.264, encoded by libx264."""

import struct

from headend.core.codecs.base import ColourCodes, Level, Options, Style, VideoCodec, colon_list, lower_rate_options
from headend.core.media import Codec, Effort, VideoRendition

PRESETS = {Effort.DRAFT: "veryfast", Effort.STANDARD: "medium", Effort.HIGH: "slow"}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one H.264 rendition."""
    return {
        "c:v": "libx264",
        "preset": PRESETS[style.effort],
        # CRF sets the quality, maxrate and bufsize bound the peak: nothing depends on the result of other chunks.
        "crf": rendition.crf,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "profile:v": rendition.profile,
        # No higher than needed (Apple's HLS Authoring Specification, 1.11); also bounds the reference frames.
        "level:v": rendition.level,
        # A sync frame at the start of each GOP and nowhere else: all renditions share one grid.
        "g": style.gop_frames,
        "keyint_min": style.gop_frames,
        "sc_threshold": 0,
        # Chunks run in parallel. Threads inside a chunk cost efficiency, and the result would depend on their number.
        "threads": 1,
        "x264-params": colon_list(
            # Headers must not depend on a chunk's content: all chunks share the init segment.
            stitchable=1,
            open_gop=0,
        ),
    }


def _codec_string(configuration: bytes, _colour: ColourCodes) -> str:
    """The codec string (RFC 6381): profile, constraints and level from ``avcC``."""
    (profile_constraints_level,) = struct.unpack_from(">x3s", configuration)
    return f"avc1.{profile_constraints_level.hex()}"


def _level(name: str, per_second: int, picture: int, bit_rate: int, buffer: int) -> Level:
    # High profile has 1.25 × the rates of Table A-1; neither side exceeds sqrt(8 × MaxFS) macroblocks.
    side_px = 16 * int((8 * picture) ** 0.5)
    return Level(name, picture, per_second, bit_rate * 5 // 4, buffer * 5 // 4, side_px, side_px)


LEVELS = (
    _level("1.0", 1_485, 99, 64, 175),
    _level("1.1", 3_000, 396, 192, 500),
    _level("1.2", 6_000, 396, 384, 1_000),
    _level("1.3", 11_880, 396, 768, 2_000),
    _level("2.0", 11_880, 396, 2_000, 2_000),
    _level("2.1", 19_800, 792, 4_000, 4_000),
    _level("2.2", 20_250, 1_620, 4_000, 4_000),
    _level("3.0", 40_500, 1_620, 10_000, 10_000),
    _level("3.1", 108_000, 3_600, 14_000, 14_000),
    _level("3.2", 216_000, 5_120, 20_000, 20_000),
    _level("4.0", 245_760, 8_192, 20_000, 25_000),
    _level("4.1", 245_760, 8_192, 50_000, 62_500),
    _level("4.2", 522_240, 8_704, 50_000, 62_500),
    _level("5.0", 589_824, 22_080, 135_000, 135_000),
    _level("5.1", 983_040, 36_864, 240_000, 240_000),
    _level("5.2", 2_073_600, 36_864, 240_000, 240_000),
    _level("6.0", 4_177_920, 139_264, 240_000, 240_000),
    _level("6.1", 8_355_840, 139_264, 480_000, 480_000),
    _level("6.2", 16_711_680, 139_264, 800_000, 800_000),
)
"""ITU-T H.264, Table A-1: MaxMBPS, MaxFS, MaxBR, MaxCPB."""

CODEC = VideoCodec(
    codec=Codec.AVC,
    label="H.264",
    profiles=(("main", 8), ("high", 8)),
    levels=LEVELS,
    block_px=16,
    counts_blocks=True,
    encoder="libx264",
    decoder="h264",
    options=options,
    lower_rate=lower_rate_options,
    crf_limit=51,
    whole_crf=False,
    trial_crfs=(20.0, 28.0, 36.0),
    coarsest_trial_crf=44.0,
    finest_crf=18.0,
    beyond_trials_crf=2.0,
    floor_step_crf=4.0,
    trick_crf=51.0,
    sample_entry="avc1",
    configuration_box="avcC",
    codec_string=_codec_string,
    hls_rank=1,
    in_first_release=True,
    in_cenc_copy=True,
    in_aes_128=True,
)
