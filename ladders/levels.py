"""Levels: the smallest that a decoder must state to play a rendition.

Rows are the standards' own tables, reduced to what limits a ladder: picture size, sample rate, bit rate and buffer.
A level that is too low makes hardware decoders stall; one that is too high makes players refuse what they could play
(Apple, HLS Authoring Specification, 1.11: signal no higher level than needed).
"""

from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import ConfigError
from headend.core.media import Codec


@dataclass(frozen=True, slots=True)
class Level:
    """Limits of a level.

    Attributes:
        name: Such as ``4.0``.
        picture: Samples of a picture's luma; of H.264, macroblocks.
        per_second: The same, per second.
        bit_rate_kbps: Highest rate.
        buffer_kb: Largest buffer, in thousands of bits.
        width_px: Largest width.
        height_px: Largest height.
    """

    name: str
    picture: int
    per_second: int
    bit_rate_kbps: int
    buffer_kb: int
    width_px: int
    height_px: int


def _avc(name: str, per_second: int, picture: int, bit_rate: int, buffer: int) -> Level:
    # High profile has 1.25 × the rates of Table A-1; neither side exceeds sqrt(8 × MaxFS) macroblocks.
    side_px = 16 * int((8 * picture) ** 0.5)
    return Level(name, picture, per_second, bit_rate * 5 // 4, buffer * 5 // 4, side_px, side_px)


def _hevc(name: str, picture: int, per_second: int, bit_rate: int) -> Level:
    # Main tier, where MaxCPB in bits is one second of MaxBR; neither side exceeds sqrt(8 × MaxLumaPs).
    side_px = int((8 * picture) ** 0.5)
    return Level(name, picture, per_second, bit_rate, bit_rate, side_px, side_px)


def _av1(name: str, picture: int, width: int, height: int, per_second: int, bit_rate: int) -> Level:
    # Main tier; the decoder model's buffer is one second of the highest rate.
    return Level(name, picture, per_second, bit_rate, bit_rate, width, height)


def _vp9(name: str, per_second: int, picture: int, bit_rate: int, buffer: int, side: int) -> Level:
    return Level(name, picture, per_second, bit_rate, buffer, side, side)


LEVELS: dict[Codec, tuple[Level, ...]] = {
    # ITU-T H.264, Table A-1: MaxMBPS, MaxFS, MaxBR, MaxCPB.
    Codec.AVC: (
        _avc("1.0", 1_485, 99, 64, 175),
        _avc("1.1", 3_000, 396, 192, 500),
        _avc("1.2", 6_000, 396, 384, 1_000),
        _avc("1.3", 11_880, 396, 768, 2_000),
        _avc("2.0", 11_880, 396, 2_000, 2_000),
        _avc("2.1", 19_800, 792, 4_000, 4_000),
        _avc("2.2", 20_250, 1_620, 4_000, 4_000),
        _avc("3.0", 40_500, 1_620, 10_000, 10_000),
        _avc("3.1", 108_000, 3_600, 14_000, 14_000),
        _avc("3.2", 216_000, 5_120, 20_000, 20_000),
        _avc("4.0", 245_760, 8_192, 20_000, 25_000),
        _avc("4.1", 245_760, 8_192, 50_000, 62_500),
        _avc("4.2", 522_240, 8_704, 50_000, 62_500),
        _avc("5.0", 589_824, 22_080, 135_000, 135_000),
        _avc("5.1", 983_040, 36_864, 240_000, 240_000),
        _avc("5.2", 2_073_600, 36_864, 240_000, 240_000),
        _avc("6.0", 4_177_920, 139_264, 240_000, 240_000),
        _avc("6.1", 8_355_840, 139_264, 480_000, 480_000),
        _avc("6.2", 16_711_680, 139_264, 800_000, 800_000),
    ),
    # ITU-T H.265, Tables A.8 and A.9: MaxLumaPs, MaxLumaSr, MaxBR.
    Codec.HEVC: (
        _hevc("1.0", 36_864, 552_960, 128),
        _hevc("2.0", 122_880, 3_686_400, 1_500),
        _hevc("2.1", 245_760, 7_372_800, 3_000),
        _hevc("3.0", 552_960, 16_588_800, 6_000),
        _hevc("3.1", 983_040, 33_177_600, 10_000),
        _hevc("4.0", 2_228_224, 66_846_720, 12_000),
        _hevc("4.1", 2_228_224, 133_693_440, 20_000),
        _hevc("5.0", 8_912_896, 267_386_880, 25_000),
        _hevc("5.1", 8_912_896, 534_773_760, 40_000),
        _hevc("5.2", 8_912_896, 1_069_547_520, 60_000),
        _hevc("6.0", 35_651_584, 1_069_547_520, 60_000),
        _hevc("6.1", 35_651_584, 2_139_095_040, 120_000),
        _hevc("6.2", 35_651_584, 4_278_190_080, 240_000),
    ),
    # AV1 Bitstream & Decoding Process Specification, A.3: MaxPicSize, MaxHSize, MaxVSize, MaxDisplayRate, MainMbps.
    Codec.AV1: (
        _av1("2.0", 147_456, 2_048, 1_152, 4_423_680, 1_500),
        _av1("2.1", 278_784, 2_816, 1_584, 8_363_520, 3_000),
        _av1("3.0", 665_856, 4_352, 2_448, 19_975_680, 6_000),
        _av1("3.1", 1_065_024, 5_504, 3_096, 31_950_720, 10_000),
        _av1("4.0", 2_359_296, 6_144, 3_456, 70_778_880, 12_000),
        _av1("4.1", 2_359_296, 6_144, 3_456, 141_557_760, 20_000),
        _av1("5.0", 8_912_896, 8_192, 4_352, 267_386_880, 30_000),
        _av1("5.1", 8_912_896, 8_192, 4_352, 534_773_760, 40_000),
        _av1("5.2", 8_912_896, 8_192, 4_352, 1_069_547_520, 60_000),
        _av1("6.0", 35_651_584, 16_384, 8_704, 1_069_547_520, 60_000),
        _av1("6.1", 35_651_584, 16_384, 8_704, 2_139_095_040, 100_000),
        _av1("6.2", 35_651_584, 16_384, 8_704, 4_278_190_080, 160_000),
    ),
    # WebM Project, "VP9 Levels and Decoder Testing": luma sample rate, luma picture size, bit rate, CPB, dimension.
    Codec.VP9: (
        _vp9("1.0", 829_440, 36_864, 200, 400, 512),
        _vp9("1.1", 2_764_800, 73_728, 800, 1_000, 768),
        _vp9("2.0", 4_608_000, 122_880, 1_800, 1_500, 960),
        _vp9("2.1", 9_216_000, 245_760, 3_600, 2_800, 1_344),
        _vp9("3.0", 20_736_000, 552_960, 7_200, 6_000, 2_048),
        _vp9("3.1", 36_864_000, 983_040, 12_000, 10_000, 2_752),
        _vp9("4.0", 83_558_400, 2_228_224, 18_000, 16_000, 4_160),
        _vp9("4.1", 160_432_128, 2_228_224, 30_000, 18_000, 4_160),
        _vp9("5.0", 311_951_360, 8_912_896, 60_000, 36_000, 8_384),
        _vp9("5.1", 588_251_136, 8_912_896, 120_000, 46_000, 8_384),
        _vp9("5.2", 1_176_502_272, 8_912_896, 180_000, 90_000, 8_384),
        _vp9("6.0", 1_176_502_272, 35_651_584, 180_000, 90_000, 16_832),
        _vp9("6.1", 2_353_004_544, 35_651_584, 240_000, 180_000, 16_832),
        _vp9("6.2", 4_706_009_088, 35_651_584, 480_000, 360_000, 16_832),
    ),
}

# What a decoder counts is the coded picture: whole macroblocks of H.264, whole smallest coding blocks of H.265.
_BLOCK_PX = {Codec.AVC: 16, Codec.HEVC: 8}


def smallest_level(
    codec: Codec, width_px: int, height_px: int, frame_rate: Fraction, bit_rate_kbps: int = 0
) -> Level | None:
    """Find the smallest level that allows a rendition.

    Args:
        codec: One of the video codecs.
        width_px: Width of the picture.
        height_px: Height of the picture.
        frame_rate: Frames per second.
        bit_rate_kbps: Highest rate; 0 asks for size and frame rate only.

    Returns:
        The level, or None where none allows it.

    Raises:
        ConfigError: ``codec`` is not a video codec.
    """
    if codec not in LEVELS:
        raise ConfigError(f"{codec} has no levels; use one of {', '.join(LEVELS)}")
    block_px = _BLOCK_PX.get(codec, 1)
    columns, rows = -(-width_px // block_px), -(-height_px // block_px)
    picture = columns * rows * (1 if codec is Codec.AVC else block_px**2)
    return next(
        (
            level
            for level in LEVELS[codec]
            if picture <= level.picture
            and picture * frame_rate <= level.per_second
            and columns * block_px <= level.width_px
            and rows * block_px <= level.height_px
            and bit_rate_kbps <= level.bit_rate_kbps
        ),
        None,
    )
