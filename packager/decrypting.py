"""Decrypts stored segments, so that their samples can be checked.

Source: as for `packager.protecting`.
"""

import struct

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from headend.core import boxes
from headend.core.errors import PackagingError
from headend.core.keys import ContentKey
from headend.core.media import Scheme
from packager.fragments import read_fragments

_BLOCK_BYTES = 16
_Map = list[tuple[int, int]]


@boxes.damage_as_packaging_error()
def decrypted(init: bytes, segment: bytes, key: ContentKey) -> tuple[bytes, bytes]:
    """Decrypt an init segment and a media segment.

    Args:
        init: The stored init segment of the segment's period.
        segment: A media segment of the same track; segments of a clear lead are returned unchanged.
        key: The key of that period.

    Returns:
        Both, decrypted. The boxes that describe the encryption stay but no longer apply.

    Raises:
        PackagingError: They are damaged, or not encrypted with this key.
    """
    if key.name.scheme is Scheme.AES_128:
        return decrypted_whole(init, key), decrypted_whole(segment, key) if segment else b""
    pattern, iv_bytes, constant_iv = _tenc(init, key)
    clear = bytearray(segment)
    for moof, fragment in zip(boxes.find_all(segment, "moof"), read_fragments(segment), strict=True):
        if fragment.description > 1:
            continue
        senc = next(boxes.find_all(segment, "traf/senc", moof), None)
        entries_by_sample = _sample_entries(segment, senc, len(fragment.samples), iv_bytes)
        offset = fragment.media
        for sample, (iv, entries) in zip(fragment.samples, entries_by_sample, strict=True):
            _decrypt_sample(clear, offset, sample.size_bytes, entries, iv or constant_iv, pattern, key)
            offset += sample.size_bytes
    return _clear_init(init), bytes(clear)


def decrypted_whole(data: bytes, key: ContentKey) -> bytes:
    """Decrypt a whole ``aes-128`` object; raises `PackagingError` if it is not encrypted with this key."""
    if not data or len(data) % _BLOCK_BYTES:
        raise PackagingError("its length is not a whole number of blocks")
    cipher = Cipher(algorithms.AES(key.secret), modes.CBC(bytes.fromhex(key.name.iv)))
    padded = cipher.decryptor().update(data)
    pad = padded[-1]
    if not 1 <= pad <= _BLOCK_BYTES or padded[-pad:] != bytes([pad]) * pad:
        raise PackagingError("it is not encrypted with this key")
    return padded[:-pad]


def _tenc(init: bytes, key: ContentKey) -> tuple[tuple[int, int], int, bytes]:
    """The encryption parameters: pattern, size of the vector per sample, and constant vector."""
    tenc, schm = boxes.protection_box(init, "schi/tenc"), boxes.protection_box(init, "schm")
    body = init[tenc.body : tenc.end]
    scheme, kid, iv_bytes = init[schm.body + 4 : schm.body + 8].decode("latin-1"), body[8:24].hex(), body[7]
    if (scheme, kid) != (key.name.scheme, key.name.kid):
        raise PackagingError(f"it is encrypted in {scheme} with the key {kid}")
    constant = body[25 : 25 + body[24]] if not iv_bytes else b""
    return (body[5] >> 4, body[5] & 15), iv_bytes, constant


def _sample_entries(data: bytes, senc: boxes.Box | None, count: int, iv_bytes: int) -> list[tuple[bytes, _Map | None]]:
    """Each sample's vector and subsample map; the map is None if whole samples are encrypted."""
    if senc is None:
        return [(b"", None)] * count
    flags, senc_count = struct.unpack_from(">II", data, senc.body)
    if senc_count != count:
        raise PackagingError(f"senc describes {senc_count} samples, not {count}")
    rows: list[tuple[bytes, _Map | None]] = []
    offset = senc.body + 8
    for _ in range(count):
        iv, offset = data[offset : offset + iv_bytes], offset + iv_bytes
        entries: _Map | None = None
        if flags & 2:
            (parts,) = struct.unpack_from(">H", data, offset)
            entries = [struct.unpack_from(">HI", data, offset + 2 + 6 * index) for index in range(parts)]
            offset += 2 + 6 * parts
        rows.append((iv, entries))
    if offset != senc.end:
        raise PackagingError("the length of senc does not match its content")
    return rows


def _decrypt_sample(
    data: bytearray, offset: int, size: int, entries: _Map | None, iv: bytes, pattern: tuple[int, int], key: ContentKey
) -> None:
    """Decrypt a sample in place."""
    if entries is not None and sum(map(sum, entries)) != size:
        raise PackagingError("the subsample map does not match the size of its sample")
    aes = algorithms.AES(key.secret)
    counter = Cipher(aes, modes.CTR(iv.ljust(_BLOCK_BYTES, b"\0"))).decryptor()
    for clear, encrypted in entries if entries is not None else [(0, size)]:
        start = offset + clear
        offset = start + encrypted
        if key.name.scheme is Scheme.CENC:
            data[start:offset] = counter.update(data[start:offset])
            continue
        blocks = encrypted // _BLOCK_BYTES
        end = start + blocks * _BLOCK_BYTES
        chain = Cipher(aes, modes.CBC(iv)).decryptor()
        crypt, skip = pattern
        if not crypt and not skip:
            data[start:end] = chain.update(data[start:end])
        elif blocks:
            numbers = np.arange(blocks)
            striped = np.frombuffer(data, np.uint8)[start:end].reshape(blocks, _BLOCK_BYTES)
            chosen = numbers % (crypt + skip) < crypt
            striped[chosen] = np.frombuffer(chain.update(striped[chosen].tobytes()), np.uint8).reshape(-1, _BLOCK_BYTES)


def _clear_init(init: bytes) -> bytes:
    """Restore the original sample entry of the init segment, and turn ``sinf`` into a ``free`` box."""
    sinf, original = boxes.protection_box(init, ""), boxes.protection_box(init, "frma")
    entry = boxes.sample_entry(init)
    clear = bytearray(init)
    clear[entry.start + 4 : entry.start + 8] = init[original.body : original.body + 4]
    clear[sinf.start + 4 : sinf.start + 8] = b"free"
    return bytes(clear)
