import struct
import subprocess

import pytest

from benchmarks.synthetic import ENCODERS, init_of_codec
from encoder.tool import ffmpeg_path
from headend.core import boxes
from headend.core.errors import PackagingError
from headend.core.media import Codec
from packager.codec_strings import codec_of, codec_string


def box(kind: str, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def make_init(entry: str, *configuration: tuple[str, bytes], handler: str = "vide") -> bytes:
    """Return an init segment with only the boxes that `codec_string` reads."""
    fields = bytes(boxes.VIDEO_ENTRY_BYTES if handler == "vide" else boxes.AUDIO_ENTRY_BYTES)
    sample_entry = box(entry, fields + b"".join(box(kind, body) for kind, body in configuration))
    stbl = box("stbl", box("stsd", bytes(8) + sample_entry))
    hdlr = box("hdlr", bytes(8) + handler.encode() + bytes(13))
    return box("moov", box("trak", box("mdia", hdlr + box("minf", stbl))))


def nclx(primaries: int, transfer: int, matrix: int) -> tuple[str, bytes]:
    return "colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ("0164002a", "avc1.64002a"),
        ("0142c01e", "avc1.42c01e"),
    ],
)
def test_avc_profile_constraints_and_level_are_three_bytes_of_avcc(configuration: str, expected: str) -> None:
    assert codec_string(make_init("avc1", ("avcC", bytes.fromhex(configuration)))) == expected


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ("01 01 60000000 b00000000000 5d", "hvc1.1.6.L93.B0"),
        ("01 64 82000000 b02300000000 78", "hvc1.A4.41.H120.B0.23"),
        ("01 02 20000000 000000000000 78", "hvc1.2.4.L120"),
    ],
)
def test_hevc_flags_are_reversed_and_constraint_bytes_trimmed(configuration: str, expected: str) -> None:
    assert codec_string(make_init("hvc1", ("hvcC", bytes.fromhex(configuration)))) == expected


@pytest.mark.parametrize(
    ("configuration", "colour", "expected"),
    [
        ("81 04 0c 00", None, "av01.0.04M.08"),
        ("81 04 4c 00", (1, 1, 1), "av01.0.04M.10"),
        ("81 0d cc 00", (9, 16, 9), "av01.0.13H.10.0.110.09.16.09.0"),
        ("81 48 70 00", None, "av01.2.08M.12.1.000.01.01.01.0"),
    ],
)
def test_av1_details_are_stated_only_if_one_differs_from_the_default(
    configuration: str, colour: tuple[int, int, int] | None, expected: str
) -> None:
    extra = [] if colour is None else [nclx(*colour)]
    assert codec_string(make_init("av01", ("av1C", bytes.fromhex(configuration)), *extra)) == expected


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ("01000000 00 28 82 01 01 01 0000", "vp09.00.40.08"),
        ("01000000 02 33 a2 09 10 09 0000", "vp09.02.51.10.01.09.16.09.00"),
    ],
)
def test_vp9_details_are_stated_only_if_one_differs_from_the_default(configuration: str, expected: str) -> None:
    assert codec_string(make_init("vp09", ("vpcC", bytes.fromhex(configuration)))) == expected


@pytest.mark.parametrize(
    ("specific", "expected"), [("1190", "mp4a.40.2"), ("2b11", "mp4a.40.5"), ("f948", "mp4a.40.42")]
)
def test_aac_object_type_is_read_from_its_descriptor(specific: str, expected: str) -> None:
    decoder_specific = b"\x05\x80\x80\x80\x02" + bytes.fromhex(specific)
    decoder = b"\x04\x80\x80\x80" + bytes([13 + len(decoder_specific)]) + b"\x40" + bytes(12) + decoder_specific
    stream = b"\x03\x80\x80\x80" + bytes([3 + len(decoder)]) + bytes(3) + decoder
    assert codec_string(make_init("mp4a", ("esds", bytes(4) + stream), handler="soun")) == expected


def test_mp3_in_an_mp4a_entry_is_refused() -> None:
    esds = bytes(4) + b"\x03\x12" + bytes(3) + b"\x04\x0d\x6b" + bytes(12)
    with pytest.raises(PackagingError, match="is not AAC"):
        codec_string(make_init("mp4a", ("esds", esds), handler="soun"))


@pytest.mark.parametrize("entry", ["hev1", "avc3", "mp4v"])
def test_sample_entries_that_players_refuse_are_refused(entry: str) -> None:
    with pytest.raises(PackagingError, match="can't be published"):
        codec_string(make_init(entry))


@pytest.mark.parametrize(("entry", "kind"), [("avc1", "avcC"), ("hvc1", "hvcC"), ("av01", "av1C"), ("vp09", "vpcC")])
def test_missing_and_truncated_configurations_are_named(entry: str, kind: str) -> None:
    with pytest.raises(PackagingError, match=f"has no {kind} box"):
        codec_string(make_init(entry))
    with pytest.raises(PackagingError, match="cut short"):
        codec_string(make_init(entry, (kind, b"\x01")))


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        # Encoded here: a picture of 64x64 at 25 frames/s, 48 kHz mono.
        (Codec.AVC, "avc1.42c00a"),
        (Codec.HEVC, "hvc1.2.4.L30.90"),
        (Codec.AV1, "av01.0.00M.10"),
        (Codec.VP9, "vp09.00.10.08"),
        (Codec.AAC, "mp4a.40.2"),
        (Codec.OPUS, "opus"),
        (Codec.AC3, "ac-3"),
        (Codec.EAC3, "ec-3"),
    ],
)
def test_ffmpegs_output_has_the_codec_strings_that_players_expect(codec: Codec, expected: str) -> None:
    init = init_of_codec(codec, 25_000)
    assert codec_of(init) is codec
    assert codec_string(init).startswith(expected)


def test_ffmpegs_default_hevc_entry_is_refused() -> None:
    options = [word for word in ENCODERS[Codec.HEVC] if word not in ("-tag:v", "hvc1")]
    source = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04", "-c:v", *options]
    argv = [ffmpeg_path(), "-v", "error", *source, "-movflags", "+cmaf+delay_moov", "-f", "mp4", "-"]
    encoded = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    with pytest.raises(PackagingError, match="hev1"):
        codec_string(encoded[: boxes.find(encoded, "moov").end])
