"""Encrypts tracks while segments are cut: Common Encryption of samples, and ``aes-128`` of whole segments.

In video samples, headers stay clear, and a subsample map lists the encrypted bytes; audio samples are encrypted as a
whole. In video, ``cbcs`` encrypts one block of sixteen bytes in ten, and ``cenc`` encrypts all bytes in the map. Equal
samples and keys give equal output, so that a repeated task writes the same objects.

Segments of a clear lead use a second sample entry, for clear samples. If keys change, each period has its own init
segment.

Sources: ISO/IEC 23001-7 (schemes ``cenc`` and ``cbcs``, ``tenc``, ``senc``, ``pssh``); "AV1 Codec ISO Media File Format
Binding", section 4; "VP Codec ISO Media File Format Binding"; RFC 8216, section 5.2 (``aes-128``).
"""

import struct
from collections.abc import Sequence
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from headend.core import boxes
from headend.core.errors import PackagingError, PlanMismatch
from headend.core.keys import ContentKey
from headend.core.media.protection import WHOLE_TITLE, Schedule, Scheme
from packager import coded
from packager.codec_strings import codec_string
from packager.coded.bits import Ranges
from packager.fragments import Auxiliary, Sample, fragment_bytes
from packager.segmenting.protection import Protect, Protector
from packager.signalling import common_pssh

BLOCK_BYTES = 16
CLEAR_DESCRIPTION = 2
"""Index of the sample entry for a clear lead."""
CLEAR_BLOCKS = 9
"""Clear blocks after each encrypted block of video in ``cbcs``."""
_MAX_CLEAR_BYTES = 0xFFFF
_MAX_ROW_BYTES = 0xFF
_PICTURE_ENTRIES = frozenset(coded.CONFIGURATIONS)
_SOUND_ENTRIES = frozenset({"mp4a", "ac-3", "ec-3", "Opus"})
WHOLE_SEGMENT_ENTRIES = frozenset({"avc1", "hvc1", "mp4a"})
"""Sample entries that players of HLS with ``aes-128`` decode."""
_ROW = struct.Struct(">HHI")
_ENTRY = struct.Struct(">HI")


def protection_of(
    keys: Sequence[ContentKey], *, kids: Sequence[str], salt: bytes, schedule: Schedule = WHOLE_TITLE
) -> Protect:
    """Return a function that takes a track's clear init segment and makes its encryptor.

    Args:
        keys: The keys, one per period; all of one scheme.
        kids: Ids of all keys of the title's epoch, so that players request only one licence.
        salt: The first half of every initialisation vector in ``cenc``: four bytes, unique among the tracks with the
            same key.
        schedule: The clear lead and the key periods.
    """
    if keys[0].name.scheme is Scheme.AES_128:
        return partial(SegmentProtector, tuple(keys), schedule)
    return partial(SampleProtector, tuple(keys), tuple(kids), salt, schedule)


def iv_of(salt: bytes, ordinal: int) -> bytes:
    """The initialisation vector of a sample in ``cenc``: eight bytes, unique among all samples with the same key.

    Args:
        salt: Four bytes of the track.
        ordinal: Index of the sample in the title, from 0.

    Raises:
        PlanMismatch: There are too many samples.
    """
    if not 0 <= ordinal < 1 << 32:
        raise PlanMismatch(f"sample {ordinal} can't be encrypted: a track has at most 2^32")
    return salt + ordinal.to_bytes(4, "big")


class SampleProtector:
    """Encrypts the samples of a track with ``cenc`` or ``cbcs``.

    Args:
        keys: The keys, one per period.
        kids: Ids of all keys that players should request.
        salt: See `protection_of`.
        schedule: See `protection_of`.
        init: The clear init segment.

    Attributes:
        init: The init segment of the encrypted track.
        later_inits: Init segments of later periods.
        codec_string: Empty: it can be read from the init segment.

    Raises:
        PackagingError: The codec can't be encrypted.
    """

    codec_string = ""

    def __init__(
        self, keys: Sequence[ContentKey], kids: Sequence[str], salt: bytes, schedule: Schedule, init: bytes
    ) -> None:
        entry = boxes.sample_entry(init)
        self._reader: coded.Reader | None = None
        if entry.kind in _PICTURE_ENTRIES:
            name = coded.CONFIGURATIONS[entry.kind][0]
            configuration = boxes.entry_box(init, name)
            if configuration is None:
                raise PackagingError(f"the {entry.kind} sample entry has no {name} box")
            self._reader = coded.reader(entry.kind, bytes(init[configuration.body : configuration.end]))
        elif entry.kind not in _SOUND_ENTRIES:
            raise PackagingError(f"{entry.kind!r} can't be encrypted in {keys[0].name.scheme}")
        self._is_cbcs = keys[0].name.scheme is Scheme.CBCS
        # The VP9 binding requires ranges of whole blocks for cbcs, too.
        self._aligned = not self._is_cbcs or entry.kind == "vp09"
        self._aes = [algorithms.AES(key.secret) for key in keys]
        self._cbc: list[Cipher[modes.CBC]] = []
        if self._is_cbcs:
            vectors = (bytes.fromhex(key.name.iv) for key in keys)
            self._cbc = [Cipher(aes, modes.CBC(iv)) for aes, iv in zip(self._aes, vectors, strict=True)]
        self._salt = salt
        self._schedule = schedule
        has_pattern, has_lead = self._is_cbcs and self._reader is not None, schedule.lead_segments > 0
        self.init, *later = (
            _encrypted_init(init, key, kids, has_pattern=has_pattern, has_lead=has_lead) for key in keys
        )
        self.later_inits = tuple(later)

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Encrypt a fragment; see `packager.segmenting.protection.Protector`.

        Raises:
            PackagingError: A sample is damaged, or has more encrypted ranges than a subsample map can list.
        """
        if self._schedule.is_clear(segment):
            return fragment_bytes(sequence, decode_ticks, samples, media, description=CLEAR_DESCRIPTION)
        period = self._schedule.period(segment) - 1
        body = bytearray(media)
        rows: list[bytes] = []
        offset = 0
        if self._reader is not None:
            self._reader.reset()
        for ordinal, sample in enumerate(samples, start=first):
            end = offset + sample.size_bytes
            iv = b"" if self._is_cbcs else iv_of(self._salt, ordinal)
            if self._reader is None:
                self._encrypt(body, [(offset, end)], iv, period)
                rows.append(iv)
            else:
                ranges = self._reader.ranges(memoryview(body)[offset:end])
                if self._aligned:
                    ranges = [(e - (e - s) // BLOCK_BYTES * BLOCK_BYTES, e) for s, e in ranges if e - s >= BLOCK_BYTES]
                rows.append(_row(iv, ranges, sample.size_bytes))
                self._encrypt(body, [(offset + s, offset + e) for s, e in ranges], iv, period)
            offset = end
        auxiliary = Auxiliary(rows, has_maps=self._reader is not None) if any(rows) else None
        return fragment_bytes(sequence, decode_ticks, samples, body, auxiliary)

    def segment(self, body: bytes, number: int) -> bytes:
        """Return the segment unchanged: its samples are already encrypted."""
        del number
        return body

    def _encrypt(self, body: bytearray, ranges: Ranges, iv: bytes, period: int) -> None:
        """Encrypt ranges of a sample in place."""
        if not self._is_cbcs:
            encryptor = Cipher(self._aes[period], modes.CTR(iv + bytes(8))).encryptor()
            for start, end in ranges:
                body[start:end] = encryptor.update(body[start:end])
            return
        for start, end in ranges:
            blocks = (end - start) // BLOCK_BYTES
            if not blocks:
                continue
            end = start + blocks * BLOCK_BYTES
            encryptor = self._cbc[period].encryptor()  # every range starts with the constant vector
            if self._reader is None:
                body[start:end] = encryptor.update(body[start:end])
                continue
            striped = np.frombuffer(body, np.uint8)[start:end].reshape(blocks, BLOCK_BYTES)[:: CLEAR_BLOCKS + 1]
            striped[:] = np.frombuffer(encryptor.update(striped.tobytes()), np.uint8).reshape(-1, BLOCK_BYTES)


class SegmentProtector:
    """Encrypts whole segments with ``aes-128``, including init segments.

    Args:
        keys: The keys, one per period.
        schedule: See `protection_of`.
        init: The clear init segment.

    Attributes:
        init: The encrypted init segment.
        later_inits: Encrypted init segments of later periods.
        codec_string: RFC 6381.

    Raises:
        PackagingError: Players of this scheme don't decode the codec.
    """

    def __init__(self, keys: Sequence[ContentKey], schedule: Schedule, init: bytes) -> None:
        entry = boxes.sample_entry(init)
        if entry.kind not in WHOLE_SEGMENT_ENTRIES:
            raise PackagingError(f"{entry.kind!r} can't be encrypted in {keys[0].name.scheme}")
        self._ciphers = [Cipher(algorithms.AES(key.secret), modes.CBC(bytes.fromhex(key.name.iv))) for key in keys]
        self._schedule = schedule
        self.init, *later = (_padded_and_encrypted(cipher, init) for cipher in self._ciphers)
        self.later_inits = tuple(later)
        self.codec_string = codec_string(init)

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Write a clear fragment: `segment` encrypts the whole segment later."""
        del first, segment
        return fragment_bytes(sequence, decode_ticks, samples, media)

    def segment(self, body: bytes, number: int) -> bytes:
        """Encrypt a segment with PKCS #7 padding."""
        return _padded_and_encrypted(self._ciphers[self._schedule.period(number) - 1], body)


def _padded_and_encrypted(cipher: "Cipher[modes.CBC]", body: bytes) -> bytes:
    pad = BLOCK_BYTES - len(body) % BLOCK_BYTES
    return bytes(cipher.encryptor().update(body + bytes([pad]) * pad))


def _row(iv: bytes, ranges: Ranges, size_bytes: int) -> bytes:
    """A sample's row in ``senc``: its vector, and its map of clear and encrypted bytes."""
    if len(ranges) == 1 and ranges[0][1] == size_bytes and ranges[0][0] <= _MAX_CLEAR_BYTES:
        return iv + _ROW.pack(1, ranges[0][0], size_bytes - ranges[0][0])
    entries: list[bytes] = []
    offset = 0
    for start, end in (*ranges, (size_bytes, size_bytes)):
        clear = start - offset
        while clear > _MAX_CLEAR_BYTES:
            entries.append(_ENTRY.pack(_MAX_CLEAR_BYTES, 0))
            clear -= _MAX_CLEAR_BYTES
        if clear or end > start:
            entries.append(_ENTRY.pack(clear, end - start))
        offset = end
    row = b"".join((iv, struct.pack(">H", len(entries)), *entries))
    if len(row) > _MAX_ROW_BYTES:
        raise PackagingError(
            f"a picture has {len(entries)} encrypted ranges, too many for a subsample map; use fewer tiles or slices"
        )
    return row


# --- init segments ------------------------------------------------------------------------------------------------


def _encrypted_init(
    init: bytes, key: ContentKey, kids: Sequence[str], *, has_pattern: bool, has_lead: bool = False
) -> bytes:
    """Add ``sinf`` to the sample entry, and the common ``pssh`` to the end of ``moov``.

    For a clear lead, the original sample entry is added after the encrypted one.
    """
    name = key.name
    kind = boxes.sample_entry(init).kind
    coding = b"encv" if kind in _PICTURE_ENTRIES else b"enca"
    pattern = 1 << 4 | CLEAR_BLOCKS if has_pattern else 0
    if name.scheme is Scheme.CBCS:
        iv = bytes.fromhex(name.iv)
        tenc = struct.pack(">IBBBB", 1 << 24, 0, pattern, 1, 0) + bytes.fromhex(name.kid) + bytes([len(iv)]) + iv
    else:
        tenc = struct.pack(">IBBBB", 0, 0, 0, 1, 8) + bytes.fromhex(name.kid)
    sinf = boxes.box(
        b"sinf",
        boxes.box(b"frma", kind.encode("latin-1"))
        + boxes.box(b"schm", struct.pack(">I4sI", 0, name.scheme.encode(), 1 << 16))
        + boxes.box(b"schi", boxes.box(b"tenc", tenc)),
    )
    pssh = common_pssh(kids)
    entry, moov = boxes.sample_entry(init), boxes.find(init, "moov")
    clear = init[entry.start : entry.end] if has_lead else b""
    grown = bytearray(init)
    grown[moov.end : moov.end] = pssh
    grown[entry.end : entry.end] = sinf + clear
    grown[entry.start + 4 : entry.start + 8] = coding
    struct.pack_into(">I", grown, entry.start, entry.end - entry.start + len(sinf))
    path = ""
    for parent in ("moov", "trak", "mdia", "minf", "stbl", "stsd"):
        path = f"{path}/{parent}" if path else parent
        box = boxes.find(init, path)
        more = len(sinf) + len(clear) + (len(pssh) if parent == "moov" else 0)
        struct.pack_into(">I", grown, box.start, box.end - box.start + more)
    if has_lead:
        struct.pack_into(">I", grown, boxes.find(init, path).body + 4, CLEAR_DESCRIPTION)  # entry_count of stsd
    return bytes(grown)


__all__ = ["Protector", "SampleProtector", "SegmentProtector", "iv_of", "protection_of"]
