"""AV1, encoded by SVT-AV1. Even SDR is encoded with 10 bits, which costs little and prevents banding."""

import struct
from fractions import Fraction

from headend.core.codecs.base import ColourCodes, Level, Options, Style, VideoCodec, colon_list, lower_rate_options
from headend.core.codecs.quantizers import log_step
from headend.core.media import Codec, Effort, MasteringDisplay, VideoRendition

# Presets above 9 visibly degrade small pictures.
PRESETS = {Effort.DRAFT: 9, Effort.STANDARD: 6, Effort.HIGH: 4}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one AV1 rendition."""
    parameters: Options = {
        # One core: chunks run in parallel.
        "lp": 1,
        # No sync frames at scene changes: all renditions share one grid.
        "scd": 0,
        # Sync frames are key frames, so that every GOP is closed.
        "irefresh-type": 2,
    }
    if style.mastering_display is not None:
        parameters["mastering-display"] = _mastering_display(style.mastering_display)
    if style.content_light is not None:
        light = style.content_light
        parameters["content-light"] = f"{light.max_cll_nits},{light.max_fall_nits}"
    return {
        "c:v": "libsvtav1",
        "preset": PRESETS[style.effort],
        "crf": rendition.crf,
        # With CRF, maxrate and bufsize bound the peak rate.
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "g": style.gop_frames,
        "svtav1-params": colon_list(**parameters),
    }


def _mastering_display(display: MasteringDisplay) -> str:
    """Mastering display metadata (SMPTE ST 2086) in SVT-AV1's syntax, which uses plain decimals."""

    def point(xy: tuple[Fraction, Fraction]) -> str:
        return f"({float(xy[0]):.5f},{float(xy[1]):.5f})"

    light = f"({float(display.max_nits):.4f},{float(display.min_nits):.4f})"
    colours = f"G{point(display.green_xy)}B{point(display.blue_xy)}R{point(display.red_xy)}"
    return f"{colours}WP{point(display.white_xy)}L{light}"


def _codec_string(configuration: bytes, colour: ColourCodes) -> str:
    """The codec string from ``av1C``; see "AV1 Codec ISO Media File Format Binding", section 5."""
    _, profile_level, flags = struct.unpack_from(">BBB", configuration)
    tier = "H" if flags & 0x80 else "M"
    depth = 12 if flags & 0x20 else 10 if flags & 0x40 else 8
    short = f"av01.{profile_level >> 5}.{profile_level & 0x1F:02}{tier}.{depth:02}"
    subsampled = flags & 0x0C == 0x0C
    chroma = f"{flags >> 3 & 1}{flags >> 2 & 1}{flags & 3 if subsampled else 0}"
    primaries, transfer, matrix, full_range = colour
    detail = f"{flags >> 4 & 1}.{chroma}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range}"
    # The optional fields are either all present or all absent; absent ones have these values.
    return short if detail == "0.110.01.01.01.0" else f"{short}.{detail}"


def _level(name: str, picture: int, width: int, height: int, per_second: int, bit_rate: int) -> Level:
    # Main tier; the decoder model's buffer is one second of the highest rate.
    return Level(name, picture, per_second, bit_rate, bit_rate, width, height)


LEVELS = (
    _level("2.0", 147_456, 2_048, 1_152, 4_423_680, 1_500),
    _level("2.1", 278_784, 2_816, 1_584, 8_363_520, 3_000),
    _level("3.0", 665_856, 4_352, 2_448, 19_975_680, 6_000),
    _level("3.1", 1_065_024, 5_504, 3_096, 31_950_720, 10_000),
    _level("4.0", 2_359_296, 6_144, 3_456, 70_778_880, 12_000),
    _level("4.1", 2_359_296, 6_144, 3_456, 141_557_760, 20_000),
    _level("5.0", 8_912_896, 8_192, 4_352, 267_386_880, 30_000),
    _level("5.1", 8_912_896, 8_192, 4_352, 534_773_760, 40_000),
    _level("5.2", 8_912_896, 8_192, 4_352, 1_069_547_520, 60_000),
    _level("6.0", 35_651_584, 16_384, 8_704, 1_069_547_520, 60_000),
    _level("6.1", 35_651_584, 16_384, 8_704, 2_139_095_040, 100_000),
    _level("6.2", 35_651_584, 16_384, 8_704, 4_278_190_080, 160_000),
)
"""AV1 Bitstream & Decoding Process Specification, A.3: MaxPicSize, MaxHSize, MaxVSize, MaxDisplayRate, MainMbps."""

CODEC = VideoCodec(
    codec=Codec.AV1,
    label="AV1",
    profiles=(("main", 8), ("main", 10)),
    levels=LEVELS,
    block_px=1,
    counts_blocks=False,
    encoder="libsvtav1",
    decoder="av1",
    options=options,
    lower_rate=lower_rate_options,
    crf_limit=63,
    whole_crf=True,
    # Low rungs use the last steps of the quantizer, which are the largest (docs/adr/0093).
    trial_crfs=(22.0, 38.0, 58.0),
    coarsest_trial_crf=63.0,
    finest_crf=22.0,
    beyond_trials_crf=2.0,
    crf_scale=log_step,
    floor_step_crf=8.0,
    trick_crf=63.0,
    sample_entry="av01",
    configuration_box="av1C",
    codec_string=_codec_string,
    hls_rank=3,
)
