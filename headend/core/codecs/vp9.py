"""VP9, encoded by libvpx."""

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod

from headend.core.codecs.base import ColourCodes, Level, Options, Style, VideoCodec
from headend.core.codecs.quantizers import log_step
from headend.core.media import Codec, Effort, VideoRendition

# Real-time mode uses no hidden reference frames and is four times as fast as the fastest setting of good mode.
PRESETS = {Effort.DRAFT: ("realtime", 7), Effort.STANDARD: ("good", 5), Effort.HIGH: ("good", 2)}
AIM = 0.95
"""Target rate of a segment that is encoded again, as a share of its cap: the encoder overshoots by a few per cent."""


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one VP9 rendition."""
    deadline, speed = PRESETS[style.effort]
    # Two passes save a tenth of the bits at equal quality (docs/adr/0026); real-time mode has only one.
    passes: Options = {} if style.effort is Effort.DRAFT else {"pass": 2}
    return {
        "c:v": "libvpx-vp9",
        "deadline": deadline,
        "cpu-used": speed,
        # "Constrained quality": CRF sets the quality, and the bit rate bounds a chunk's average.
        # Peaks are not bounded, so workers encode segments above maxrate again.
        "crf": rendition.crf,
        "b:v": rendition.cap_bps,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        **passes,
        "profile:v": rendition.profile,
        "g": style.gop_frames,
        "keyint_min": style.gop_frames,
        "threads": 1,
        "row-mt": 0,
        # Tiles let players decode large pictures on several cores; a tile must be at least 256 pixels wide.
        "tile-columns": max(0, (rendition.width_px // 512).bit_length() - 1),
    }


def lower_rate_options(options: Mapping[str, str | int | float], factors: Sequence[Fraction]) -> Options:
    """Options to encode a segment again whose rate was too high: two passes, with an average below the cap as target.

    Args:
        options: Options of the rendition.
        factors: Ratio of cap to rate of each earlier encode. The first is ignored, as that encode had no target rate.
    """
    cap_bps = int(options["maxrate"])
    scale = float(prod(factors[1:]))
    changed = {name: value for name, value in options.items() if name != "crf"}
    if changed["deadline"] == "realtime":
        changed |= {"deadline": "good", "cpu-used": 5}
    return changed | {
        "b:v": int(AIM * scale * cap_bps),
        "maxrate": int(scale * cap_bps),
        "bufsize": int(scale * int(options["bufsize"])),
        "pass": 2,
    }


def _codec_string(configuration: bytes, _colour: ColourCodes) -> str:
    """The codec string from ``vpcC``; see "VP Codec ISO Media File Format Binding"."""
    profile, level, packed, *colour = struct.unpack_from(">xxxxBBBBBB", configuration)
    short = f"vp09.{profile:02}.{level:02}.{packed >> 4:02}"
    primaries, transfer, matrix = colour
    detail = f"{packed >> 1 & 7:02}.{primaries:02}.{transfer:02}.{matrix:02}.{packed & 1:02}"
    return short if detail == "01.01.01.01.00" else f"{short}.{detail}"


def _level(name: str, per_second: int, picture: int, bit_rate: int, buffer: int, side: int) -> Level:
    return Level(name, picture, per_second, bit_rate, buffer, side, side)


LEVELS = (
    _level("1.0", 829_440, 36_864, 200, 400, 512),
    _level("1.1", 2_764_800, 73_728, 800, 1_000, 768),
    _level("2.0", 4_608_000, 122_880, 1_800, 1_500, 960),
    _level("2.1", 9_216_000, 245_760, 3_600, 2_800, 1_344),
    _level("3.0", 20_736_000, 552_960, 7_200, 6_000, 2_048),
    _level("3.1", 36_864_000, 983_040, 12_000, 10_000, 2_752),
    _level("4.0", 83_558_400, 2_228_224, 18_000, 16_000, 4_160),
    _level("4.1", 160_432_128, 2_228_224, 30_000, 18_000, 4_160),
    _level("5.0", 311_951_360, 8_912_896, 60_000, 36_000, 8_384),
    _level("5.1", 588_251_136, 8_912_896, 120_000, 46_000, 8_384),
    _level("5.2", 1_176_502_272, 8_912_896, 180_000, 90_000, 8_384),
    _level("6.0", 1_176_502_272, 35_651_584, 180_000, 90_000, 16_832),
    _level("6.1", 2_353_004_544, 35_651_584, 240_000, 180_000, 16_832),
    _level("6.2", 4_706_009_088, 35_651_584, 480_000, 360_000, 16_832),
)
"""WebM Project, "VP9 Levels and Decoder Testing": luma sample rate, luma picture size, bit rate, CPB, dimension."""

CODEC = VideoCodec(
    codec=Codec.VP9,
    label="VP9",
    profiles=(("0", 8), ("2", 10)),
    levels=LEVELS,
    block_px=1,
    counts_blocks=False,
    encoder="libvpx-vp9",
    decoder="vp9",
    options=options,
    lower_rate=lower_rate_options,
    crf_limit=63,
    whole_crf=True,
    trial_crfs=(22.0, 38.0, 54.0),
    coarsest_trial_crf=62.0,
    finest_crf=22.0,
    beyond_trials_crf=3.0,
    crf_scale=log_step,
    floor_step_crf=8.0,
    trick_crf=63.0,
    sample_entry="vp09",
    configuration_box="vpcC",
    codec_string=_codec_string,
    # A target rate makes the encoder spend more bits on sync frames, even if it is out of reach (docs/adr/0085).
    bound_shapes_quality=True,
    # None: Apple's HLS Authoring Specification does not include VP9.
    hls_rank=None,
)
