"""H.265, encoded by libx265. Even SDR is encoded with 10 bits, which costs no rate and reduces banding."""

import struct
from fractions import Fraction

from headend.core.codecs.base import ColourCodes, Level, Options, Style, VideoCodec, colon_list, lower_rate_options
from headend.core.media import Codec, Effort, MasteringDisplay, VideoRange, VideoRendition

PRESETS = {Effort.DRAFT: "superfast", Effort.STANDARD: "medium", Effort.HIGH: "slow"}


def options(rendition: VideoRendition, style: Style) -> Options:
    """Options for one H.265 rendition."""
    parameters: Options = {
        # A sync frame at the start of each GOP and nowhere else. GOPs are closed, so that no frame refers to another
        # chunk and players can switch at any GOP.
        "keyint": style.gop_frames,
        "min-keyint": style.gop_frames,
        "scenecut": 0,
        "open-gop": 0,
        # Sample-adaptive offset blurs: without it, equal VMAF takes 3 to 4 % fewer bits at every rate (docs/adr/0023).
        "sao": 0,
        # The computed level and tier; by default, x265 writes its own estimate.
        "level-idc": rendition.level,
        "high-tier": 0,
        # x265's SEI lists its settings, which would make init segments differ.
        "info": 0,
        # Single-threaded: chunks run in parallel, and without row parallelism the output doesn't depend on threads.
        "pools": "none",
        "frame-threads": 1,
        "wpp": 0,
        # Errors only; x265 ignores FFmpeg's log level.
        "log-level": "error",
    }
    if rendition.video_range is VideoRange.PQ:
        # HDR10 is PQ with ST 2086 metadata, repeated at every sync frame so that playback can start at any of them.
        parameters |= {"hdr10": 1, "hdr10-opt": 1}
    if style.mastering_display is not None:
        parameters["master-display"] = _master_display(style.mastering_display)
    if style.content_light is not None:
        light = style.content_light
        parameters["max-cll"] = f"{light.max_cll_nits},{light.max_fall_nits}"
    return {
        "c:v": "libx265",
        "preset": PRESETS[style.effort],
        "crf": rendition.crf,
        "maxrate": rendition.cap_bps,
        "bufsize": rendition.buffer_bits,
        "profile:v": rendition.profile,
        # hvc1, not FFmpeg's default hev1: Apple's players accept no other (HLS Authoring Specification, 1.10).
        "tag:v": "hvc1",
        "threads": 1,
        "x265-params": colon_list(**parameters),
    }


def _master_display(display: MasteringDisplay) -> str:
    """Mastering display metadata (SMPTE ST 2086) in x265's units: 0.00002 for chromaticity, 0.0001 cd/m² for light."""

    def point(xy: tuple[Fraction, Fraction]) -> str:
        return f"({round(xy[0] * 50000)},{round(xy[1] * 50000)})"

    light = f"({round(display.max_nits * 10000)},{round(display.min_nits * 10000)})"
    colours = f"G{point(display.green_xy)}B{point(display.blue_xy)}R{point(display.red_xy)}"
    return f"{colours}WP{point(display.white_xy)}L{light}"


def _codec_string(configuration: bytes, _colour: ColourCodes) -> str:
    """ISO/IEC 14496-15, annex E, from ``hvcC``."""
    profile, compatibility, constraints, level = struct.unpack_from(">xBI6sB", configuration)
    space = ("", "A", "B", "C")[profile >> 6]
    # Annex E puts flag 31 first, the reverse of the bitstream's order.
    reversed_flags = int(f"{compatibility:032b}"[::-1], 2)
    tier = "H" if profile & 0x20 else "L"
    tail = [f"{byte:X}" for byte in constraints.rstrip(b"\0")]
    return ".".join(["hvc1", f"{space}{profile & 0x1F}", f"{reversed_flags:X}", f"{tier}{level}", *tail])


def _level(name: str, picture: int, per_second: int, bit_rate: int) -> Level:
    # Main tier, where MaxCPB in bits is one second of MaxBR; neither side exceeds sqrt(8 × MaxLumaPs).
    side_px = int((8 * picture) ** 0.5)
    return Level(name, picture, per_second, bit_rate, bit_rate, side_px, side_px)


LEVELS = (
    _level("1.0", 36_864, 552_960, 128),
    _level("2.0", 122_880, 3_686_400, 1_500),
    _level("2.1", 245_760, 7_372_800, 3_000),
    _level("3.0", 552_960, 16_588_800, 6_000),
    _level("3.1", 983_040, 33_177_600, 10_000),
    _level("4.0", 2_228_224, 66_846_720, 12_000),
    _level("4.1", 2_228_224, 133_693_440, 20_000),
    _level("5.0", 8_912_896, 267_386_880, 25_000),
    _level("5.1", 8_912_896, 534_773_760, 40_000),
    _level("5.2", 8_912_896, 1_069_547_520, 60_000),
    _level("6.0", 35_651_584, 1_069_547_520, 60_000),
    _level("6.1", 35_651_584, 2_139_095_040, 120_000),
    _level("6.2", 35_651_584, 4_278_190_080, 240_000),
)
"""ITU-T H.265, Tables A.8 and A.9: MaxLumaPs, MaxLumaSr, MaxBR."""

CODEC = VideoCodec(
    codec=Codec.HEVC,
    label="HEVC",
    profiles=(("main", 8), ("main10", 10)),
    levels=LEVELS,
    block_px=8,
    counts_blocks=False,
    encoder="libx265",
    decoder="hevc",
    options=options,
    lower_rate=lower_rate_options,
    crf_limit=51,
    whole_crf=False,
    trial_crfs=(20.0, 28.0, 36.0),
    coarsest_trial_crf=44.0,
    finest_crf=18.0,
    beyond_trials_crf=2.0,
    floor_step_crf=4.0,
    # None: with sync frames only it becomes a range extensions profile, which hardly any device decodes.
    trick_crf=None,
    sample_entry="hvc1",
    configuration_box="hvcC",
    codec_string=_codec_string,
    hls_rank=2,
    in_cenc_copy=True,
    in_aes_128=True,
)
