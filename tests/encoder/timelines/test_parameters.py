from pathlib import Path

import av
import pytest

from encoder.timelines.parameters import (
    HEAD_BYTES,
    first_element,
    header_parameters,
    picture_parameters,
    sound_parameters,
)
from tests.support.masters import run_ffmpeg

SPS, OTHER, PPS = bytes.fromhex("6764000cacb202"), bytes.fromhex("6764001facd940"), bytes.fromhex("68eb")


def in_lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


def after_start_codes(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.parametrize("packed", [in_lengths, after_start_codes])
def test_parameter_sets_of_h264_are_found_however_they_are_packed(packed) -> None:  # type: ignore[no-untyped-def]
    picture = b"\x65" + bytes(range(1, 200))

    assert picture_parameters("h264", packed(b"\x09\x10", SPS, PPS, picture)) == SPS
    assert picture_parameters("h264", packed(OTHER, PPS, picture)) == OTHER
    assert picture_parameters("h264", packed(picture)) == b""


def test_a_sequence_header_of_mpeg_2_states_size_and_shape() -> None:
    wide, tall = (b"\0\0\1\xb3" + size + b"\x34\xff\xff" for size in (b"\x14\x00\xb4", b"\x0f\x00\x88"))

    assert picture_parameters("mpeg2video", b"\0\0\1\xb8" + wide) != picture_parameters("mpeg2video", tall)
    assert picture_parameters("mpeg2video", b"\0\0\1\xb3") == b""


def test_a_sequence_header_of_mpeg_2_states_chroma_and_colour() -> None:
    start = b"\0\0\1\xb3\x14\x00\xb4\x34\xff\xff\xe0\x18"
    kinds = [
        start + b"\0\0\1\xb5\x14\x8a\0\1\0\0" + b"\0\0\1\xb5\x23\1\1\1\x05\x02\x05\xa0" + b"\0\0\1\0\0\x0f",
        start + b"\0\0\1\xb5\x14\x8a\0\1\0\0" + b"\0\0\1\xb5\x23\6\6\6\x05\x02\x05\xa0" + b"\0\0\1\0\0\x0f",
        start + b"\0\0\1\xb5\x14\x8c\0\1\0\0" + b"\0\0\1\xb5\x23\1\1\1\x05\x02\x05\xa0" + b"\0\0\1\0\0\x0f",
        start,
    ]

    assert len({picture_parameters("mpeg2video", kind) for kind in kinds}) == len(kinds)
    assert len({picture_parameters("mpeg2video", kinds[0] + bytes([number])) for number in range(9)}) == 1


@pytest.mark.parametrize(
    ("codec", "head", "words"),
    [
        ("ac3", "0b77 0000 1e 40 e1 8000", "3.2 and LFE, 48000 Hz"),
        ("ac3", "0b77 0000 14 40 43 e100", "2.0, 48000 Hz"),
        ("ac3", "0000 0000 14 40 43 e100", ""),
        ("mp3", "fffb 9064 00 00 00 00", "stereo, 44100 Hz"),
        ("mp2", "fffd 94c4 00 00 00 00", "mono, 48000 Hz"),
        ("aac", "fff1 4c80 00 00 00 00", "channel configuration 2, 48000 Hz"),
        ("aac", "2110 0464 00 00 00 00", ""),
        ("aac_latm", "56e0 1220 0011 90 000000", "channel configuration 2, 48000 Hz"),
        ("aac_latm", "56e0 1280 0011 90 000000", ""),
        ("flac", "fff8 0000 00 00 00 00", ""),
    ],
)
def test_packets_of_sound_state_channels_and_rate(codec: str, head: str, words: str) -> None:
    assert sound_parameters(codec, bytes.fromhex(head)) == words


@pytest.mark.parametrize(
    ("head", "header", "words"),
    [
        ("2110 0464 8cc0 00000000", "1190", "frames that begin with a pair of channels"),
        ("0110 0464 8cc0 00000000", "1188", "frames that begin with one channel"),
        ("fff1 4c80 1fff fc21 1004", "", "frames that begin with a pair of channels"),
        ("fff0 4c80 1fff fcab cd01", "", "frames that begin with one channel"),
        ("de02 004c 6176 63000000", "1190", ""),  # a comment comes first
        ("2110 0464 8cc0 00000000", "f950", ""),  # AAC of another kind, without elements
    ],
)
def test_an_aac_packets_first_element_is_read(head: str, header: str, words: str) -> None:
    assert first_element("aac", bytes.fromhex(head), bytes.fromhex(header)) == words
    assert first_element("ac3", bytes.fromhex(head), bytes.fromhex(header)) == ""


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2video", "prores", "ac3", "eac3", "mp2", "mp3", "aac", "vp9"])
@pytest.mark.parametrize("length", [0, 1, 4, 7, 8, 40])
def test_arbitrary_bytes_do_not_crash_the_parsers(codec: str, length: int) -> None:
    for filling in (0, 0x0B, 0xFF):
        picture_parameters(codec, bytes([filling]) * length)
        sound_parameters(codec, bytes([filling]) * length)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("mpeg2video", ()), ("mpeg4", ()), ("mjpeg", ("-pix_fmt", "yuvj420p")), ("libvpx", ("-deadline", "realtime")),
        ("libvpx-vp9", ("-deadline", "realtime", "-cpu-used", "8")), ("libsvtav1", ("-preset", "11")),
        ("prores_ks", ("-pix_fmt", "yuv422p10le")), ("jpeg2000", ()),
        ("dnxhd", ("-profile:v", "dnxhr_lb", "-pix_fmt", "yuv422p")),
    ],
)  # fmt: skip
def test_keyframes_of_another_size_are_found(codec: str, options: tuple[str, ...], tmp_path: Path) -> None:
    stated = []
    for size in ("320x192", "256x192"):
        # Matroska stores the header of MPEG-4 separately.
        path = tmp_path / f"{size}.{'avi' if codec == 'mpeg4' else 'mkv'}"
        source = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.2", "-c:v", codec, "-g", "2")
        run_ffmpeg(*source, *options, str(path))
        with av.open(str(path)) as container:
            name = container.streams.video[0].codec_context.codec.canonical_name
            keyframes = [bytes(packet) for packet in container.demux(video=0) if packet.is_keyframe and packet.size]
        assert len(keyframes) > 1
        stated.append({picture_parameters(name, packet[:HEAD_BYTES]) for packet in keyframes})

    assert [len(one) for one in stated] == [1, 1]
    assert b"" not in stated[0] | stated[1]
    assert stated[0] != stated[1]


def test_a_header_of_aac_states_channels_and_rate() -> None:
    assert header_parameters("aac", bytes.fromhex("1190")) == "channel configuration 2, 48000 Hz"
    assert header_parameters("aac", bytes.fromhex("1208")) == "channel configuration 1, 44100 Hz"
    assert header_parameters("opus", b"OpusHead") == ""
