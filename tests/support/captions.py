"""Makers of closed captions: CEA-608 byte pairs, and a film with captions in its picture.

Source: ANSI/CTA-608-E, section 8 (control codes), and ATSC A/53, part 4, section 6.2.3 (user data of a picture).
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.masters import make_film, run_ffmpeg

RESUME_LOADING, END_OF_CAPTION, ERASE_DISPLAYED, ROW_15 = (0x14, 0x20), (0x14, 0x2F), (0x14, 0x2C), (0x14, 0x70)
PLAIN = ("-bf", "0", "-slices", "1")
"""Options for an H.264 encode without reordering, whose pictures can be located."""
_FIRST_SLICE = re.compile(rb"\x00\x00\x00?\x01[\x65\x41\x61\x01\x21](?=[\x80-\xff])")


def make_captioned_film(
    path: Path, captions: Sequence[tuple[int, int | None, str]], *, sparse: bool = False, **film: object
) -> Path:
    """Make a film of H.264 whose frames carry captions of one line.

    Args:
        path: The file to write; its suffix chooses the container.
        captions: First frame, end frame (None if nothing erases it), and the text;
            each needs some frames before.
        sparse: Whether frames without commands carry no caption data.
        **film: As `make_film` takes it.
    """
    make_film(path, codec_args=PLAIN, **film)  # type: ignore[arg-type]
    rate = Fraction(film.get("frame_rate", 25))  # type: ignore[arg-type]
    return add_captions(path, captions, frame_rate=rate, sparse=sparse)


def add_captions(
    path: Path,
    captions: Sequence[tuple[int, int | None, str]],
    *,
    frame_rate: Fraction = Fraction(25),
    sparse: bool = False,
) -> Path:
    """Put captions, as for `make_captioned_film`, into a film of H.264 that was encoded with `PLAIN`."""
    with TemporaryDirectory() as scratch:
        plain, captioned = Path(scratch) / "plain.h264", Path(scratch) / "captioned.h264"
        run_ffmpeg("-i", str(path), "-map", "0:v", "-c", "copy", str(plain))
        captioned.write_bytes(_with_captions(plain.read_bytes(), pop_on(captions), sparse=sparse))
        whole = Path(scratch) / f"film{path.suffix}"
        run_ffmpeg(
            "-r", str(frame_rate), "-i", str(captioned), "-i", str(path), "-map", "0:v", "-map", "1:a?", "-c", "copy",
            str(whole),
        )  # fmt: skip
        shutil.move(whole, path)
    return path


def pop_on(captions: Sequence[tuple[int, int | None, str]]) -> Mapping[int, tuple[int, int]]:
    """Byte pairs by frame, so that each caption appears and disappears at its frames."""
    pairs: dict[int, tuple[int, int]] = {}
    for first, end, text in captions:
        even = text + " " * (len(text) % 2)
        loading = [RESUME_LOADING, RESUME_LOADING, ROW_15, ROW_15]
        loading += [(ord(one), ord(other)) for one, other in zip(even[::2], even[1::2], strict=True)]
        for index, pair in enumerate(loading, start=first - len(loading)):
            assert index >= 0 and index not in pairs, "no room to load a caption"
            pairs[index] = pair
        pairs[first] = END_OF_CAPTION
        if end is not None:
            pairs[end] = ERASE_DISPLAYED
    return pairs


def in_mpeg2(stream: bytes, pairs: Mapping[int, tuple[int, int]]) -> bytes:
    """Put user data with captions before the slices of each picture of an MPEG-2 stream, as it is shown.

    Source: ISO/IEC 13818-2, section 6.2.2.2.2; pictures are numbered by their ``temporal_reference`` in each GOP.
    """
    output, taken, base, number, gop = bytearray(), 0, 0, 0, -1
    waiting = False
    at = stream.find(b"\0\0\1")
    while at >= 0:
        code = stream[at + 3]
        if code == 0xB8:
            base, gop = max(base, gop + 1), gop
        elif code == 0x00:
            number = base + (stream[at + 4] << 2 | stream[at + 5] >> 6)
            gop, waiting = max(gop, number), True
        elif waiting and 0x01 <= code <= 0xAF:
            output += stream[taken:at] + b"\0\0\1\xb2" + _atsc(pairs.get(number, (0, 0)))
            taken, waiting = at, False
        at = stream.find(b"\0\0\1", at + 3)
    return bytes(output + stream[taken:])


def in_hevc(stream: bytes, pairs: Mapping[int, tuple[int, int]]) -> bytes:
    """Put a message with captions before each picture of an HEVC stream without reordering."""
    output, taken, number = bytearray(), 0, 0
    at = stream.find(b"\0\0\1")
    while at >= 0:
        if stream[at + 3] >> 1 & 0x3F < 32 and stream[at + 5] & 0x80:
            data = b"\xb5\x00\x31" + _atsc(pairs.get(number, (0, 0)))
            output += stream[taken:at] + b"\0\0\1\x4e\x01\x04" + bytes([len(data)]) + data + b"\x80"
            taken, number = at, number + 1
        at = stream.find(b"\0\0\1", at + 3)
    return bytes(output + stream[taken:])


def _atsc(pair: tuple[int, int]) -> bytes:
    """``cc_data`` with one pair of the first field, and a different pair of the second."""
    return b"GA94\x03\x42\xff\xfc" + bytes(map(_odd, pair)) + b"\xfd" + bytes(map(_odd, b"xy")) + b"\xff"


def _with_captions(stream: bytes, pairs: Mapping[int, tuple[int, int]], *, sparse: bool) -> bytes:
    """Put a message with captions before every picture of an H.264 stream, empty ones included unless it is sparse."""
    starts = [found.start() for found in _FIRST_SLICE.finditer(stream)]
    assert len(starts) > max(pairs)
    bounds = [0, *starts, len(stream)]
    parts = [stream[: bounds[1]]]
    for number, start in enumerate(starts):
        message = b"" if sparse and number not in pairs else _message(pairs.get(number, (0, 0)))
        parts += [message, stream[start : bounds[number + 2]]]
    return b"".join(parts)


def _message(pair: tuple[int, int]) -> bytes:
    user_data = b"\xb5\x00\x31GA94\x03\x41\xff\xfc" + bytes(map(_odd, pair)) + b"\xff"
    return b"\x00\x00\x00\x01\x06\x04" + bytes([len(user_data)]) + user_data + b"\x80"


def _odd(byte: int) -> int:
    """With odd parity."""
    return byte | (0 if byte.bit_count() % 2 else 0x80)
