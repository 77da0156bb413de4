"""Encrypted samples, compared with shaka-packager's and FFmpeg's."""

import contextlib
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from headend.core import boxes
from headend.core.errors import PackagingError, PlanMismatch
from headend.core.media.protection import Scheme
from packager import coded
from packager.codec_strings import codec_string
from packager.fragments import read_fragments
from packager.protecting import _row, iv_of, protection_of
from packager.signalling import COMMON
from tests.support import encryption
from tests.support.encryption import AV1, AVC, CLIPS, HEVC, SALT, VP9, make_key, maps, packets, protected, rows
from tests.support.marks import repeated

Encoded = Callable[[str], Path]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    """Encodes each clip once."""
    folder = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.mp4"
        if not path.exists():
            encryption.encode(CLIPS[name], path)
        return path

    return get


@pytest.mark.parametrize("scheme", [Scheme.CBCS, repeated(Scheme.CENC)])
@pytest.mark.parametrize("name", CLIPS)
def test_ffmpeg_and_shaka_packager_decrypt_to_the_clear_packets(
    name: str, scheme: Scheme, encoded: Encoded, tmp_path: Path
) -> None:
    path, key = encoded(name), make_key(scheme)
    clear = packets(path)
    sealed, opened = tmp_path / "sealed.mp4", tmp_path / "opened.mp4"
    sealed.write_bytes(protected(path.read_bytes(), key))
    assert packets(sealed, key) == clear
    assert set(packets(sealed, at_least_bytes=128)).isdisjoint(clear), "some packets are not encrypted at all"
    stream = "audio" if CLIPS[name].is_sound else "video"
    encryption.shaka_decrypted(sealed, opened, stream, key)
    assert packets(opened) == clear


@pytest.mark.parametrize("name", AVC | HEVC | AV1)
def test_shaka_packager_makes_the_same_maps_and_encrypted_bytes(name: str, encoded: Encoded, tmp_path: Path) -> None:
    path, key = encoded(name), make_key()
    ours, theirs = tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
    ours.write_bytes(protected(path.read_bytes(), key))
    encryption.shaka_encrypted(path, theirs, "video", key)
    assert maps(ours.read_bytes()) == maps(theirs.read_bytes())
    assert packets(ours) == packets(theirs)


@pytest.mark.heavy
def test_maps_of_large_pictures_equal_shaka_packagers(tmp_path: Path) -> None:
    large = "testsrc2=s=3840x2160:r=2:d=2"
    clips = {
        "hevc": encryption._x265(large, "wpp=1:slices=4"),
        "av1": encryption._av1(large, 12, "tile-columns=2:tile-rows=1"),
        "avc": encryption._x264(large, "slices=8"),
    }
    for name, clip in clips.items():
        path, key = tmp_path / f"{name}.mp4", make_key()
        clear = encryption.encode(clip, path)
        theirs = tmp_path / f"{name}-theirs.mp4"
        encryption.shaka_encrypted(path, theirs, "video", key)
        assert maps(protected(clear, key)) == maps(theirs.read_bytes()), name


@pytest.mark.parametrize("name", VP9)
def test_vp9_keeps_its_headers_and_whole_blocks_end_with_each_frame(name: str, encoded: Encoded) -> None:
    data = encoded(name).read_bytes()
    for scheme in (Scheme.CBCS, Scheme.CENC):
        key = make_key(scheme)
        for sample_map in maps(protected(data, key)):
            assert all(encrypted % 16 == 0 for _, encrypted in sample_map)
            assert sample_map[0][0] > 0


@pytest.mark.parametrize("name", ["avc", "aac"])
def test_same_samples_give_the_same_bytes(name: str, encoded: Encoded) -> None:
    clear = encoded(name).read_bytes()
    for scheme in (Scheme.CBCS, Scheme.CENC):
        assert protected(clear, make_key(scheme)) == protected(clear, make_key(scheme))


@pytest.mark.parametrize("name", ["avc", "vp9 with superframes", "eac3"])
def test_sizes_times_and_codec_of_an_encrypted_file_are_those_of_the_clear_one(name: str, encoded: Encoded) -> None:
    clear = encoded(name).read_bytes()
    for scheme in (Scheme.CBCS, Scheme.CENC):
        sealed = protected(clear, make_key(scheme))
        for one, other in zip(read_fragments(clear), read_fragments(sealed), strict=True):
            assert [s.size_bytes for s in one.samples] == [s.size_bytes for s in other.samples]
            assert one.decode_ticks == other.decode_ticks
        assert codec_string(sealed) == codec_string(clear)


def test_encrypting_sound_in_cbcs_adds_no_bytes(encoded: Encoded) -> None:
    clear = encoded("aac").read_bytes()
    assert not rows(protected(clear, make_key()))
    assert len(rows(protected(clear, make_key(Scheme.CENC)))) == sum(len(f.samples) for f in read_fragments(clear))


def test_every_sample_of_cenc_has_a_different_vector(encoded: Encoded) -> None:
    vectors = [iv for iv, _ in rows(protected(encoded("avc").read_bytes(), make_key(Scheme.CENC)))]
    assert vectors == [SALT + n.to_bytes(4, "big") for n in range(len(vectors))]


def test_the_offset_in_saio_is_that_of_the_fragments_first_vector(encoded: Encoded) -> None:
    sealed = protected(encoded("avc").read_bytes(), make_key(Scheme.CENC))
    for number, moof in enumerate(boxes.find_all(sealed, "moof")):
        saio = next(boxes.find_all(sealed, "traf/saio", moof))
        (offset,) = struct.unpack_from(">I", sealed, saio.body + 8)
        first = sum(len(f.samples) for f in list(read_fragments(sealed))[:number])
        assert sealed[moof.start + offset : moof.start + offset + 8] == SALT + first.to_bytes(4, "big")


def test_common_pssh_lists_all_keys_of_the_title(encoded: Encoded) -> None:
    clear, key = encoded("avc").read_bytes(), make_key()
    kids = [key.name.kid, "ab" * 16]
    init = protection_of([key], kids=kids, salt=SALT)(clear[: next(read_fragments(clear)).start]).init
    pssh = boxes.find(init, "moov/pssh")
    body = init[pssh.body : pssh.end]
    assert body[4:20] == uuid.UUID(COMMON).bytes
    assert body[20:24] == struct.pack(">I", 2)
    assert body[24:56] == b"".join(map(bytes.fromhex, kids))


def test_aes_128_encrypts_whole_segments_and_the_init_segment(encoded: Encoded) -> None:
    clear, key = encoded("aac").read_bytes(), make_key(Scheme.AES_128)
    protector = protection_of([key], kids=[], salt=SALT)(clear[: next(read_fragments(clear)).start])
    for sealed, plain in (
        (protector.init, clear[: next(read_fragments(clear)).start]),
        (protector.segment(b"x" * 16, 1), b"x" * 16),
    ):
        cipher = Cipher(algorithms.AES(key.secret), modes.CBC(bytes.fromhex(key.name.iv))).decryptor()
        padded = cipher.update(sealed)
        assert padded[: -padded[-1]] == plain


def test_codecs_that_players_of_aes_128_do_not_decode_are_refused(encoded: Encoded) -> None:
    clear = encoded("opus").read_bytes()
    with pytest.raises(PackagingError, match=r"'Opus' can't be encrypted in aes-128"):
        protection_of([make_key(Scheme.AES_128)], kids=[], salt=SALT)(clear[: next(read_fragments(clear)).start])


def test_text_is_refused(encoded: Encoded) -> None:
    clear = bytearray(encoded("aac").read_bytes())
    at = clear.index(b"mp4a", clear.index(b"stsd"))
    clear[at : at + 4] = b"wvtt"
    with pytest.raises(PackagingError, match="'wvtt' can't be encrypted"):
        protection_of([make_key()], kids=[], salt=SALT)(bytes(clear[: next(read_fragments(clear)).start]))


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 2**32 - 1)), min_size=2, unique=True))
def test_vectors_of_different_samples_differ(salts_and_ordinals: list[tuple[bytes, int]]) -> None:
    vectors = {iv_of(salt, ordinal) for salt, ordinal in salts_and_ordinals}
    assert len(vectors) == len(salts_and_ordinals)
    assert {len(iv) for iv in vectors} == {8}


def test_one_sample_too_many_is_refused() -> None:
    with pytest.raises(PlanMismatch, match="at most 2"):
        iv_of(SALT, 1 << 32)


@given(st.lists(st.integers(0, 70_000), max_size=40), st.integers(0, 200_000))
def test_maps_cover_the_sample_in_entries_of_sixteen_bits(borders: list[int], tail: int) -> None:
    at, ranges = 0, []
    for clear, encrypted in zip(borders[::2], borders[1::2], strict=False):
        if encrypted:
            ranges.append((at + clear, at + clear + encrypted))
            at += clear + encrypted
    size = max(1, at + tail)
    try:
        row = _row(b"", ranges, size)
    except PackagingError:
        assert len(ranges) + size // 0xFFFF > 38
        return
    (count,) = struct.unpack_from(">H", row)
    entries = [struct.unpack_from(">HI", row, 2 + 6 * n) for n in range(count)]
    assert sum(map(sum, entries)) == size
    assert sum(encrypted for _, encrypted in entries) == sum(end - start for start, end in ranges)


def test_a_picture_in_too_many_parts_is_refused() -> None:
    ranges = [(100 * n + 10, 100 * n + 100) for n in range(43)]
    with pytest.raises(PackagingError, match="43 encrypted ranges"):
        _row(b"", ranges, 4300)
    assert _row(b"", ranges[:42], 4200)
    with pytest.raises(PackagingError, match="41 encrypted ranges"):
        _row(bytes(8), ranges[:41], 4100)


@pytest.mark.parametrize("name", ["avc in slices", "hevc in slices with wavefronts", "av1 in tiles", "vp9 in tiles"])
def test_damaged_samples_are_refused_or_read_but_never_crash(name: str, encoded: Encoded) -> None:
    clear = encoded(name).read_bytes()
    fragment = next(read_fragments(clear))
    init = clear[: fragment.start]
    kind = boxes.sample_entry(init).kind
    box = boxes.entry_box(init, coded.CONFIGURATIONS[kind][0])
    assert box is not None
    configuration = init[box.body : box.end]
    sample = clear[fragment.media : fragment.media + fragment.samples[0].size_bytes]
    reader = coded.reader(kind, configuration)
    for length in (*range(0, 200), len(sample) - 1):
        for flipped in (sample[:length], bytes(byte ^ 0x5A for byte in sample[:length])):
            reader.reset()
            with contextlib.suppress(PackagingError):
                assert all(0 <= start < end <= length for start, end in reader.ranges(flipped))
