"""The public data of a title's protection: schemes, key classes and key ids. No type here holds a secret."""

import hashlib
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product


class Scheme(StrEnum):
    """How samples are encrypted: ISO/IEC 23001-7; ``aes-128`` encrypts whole segments (RFC 8216, section 4.3.2.4)."""

    CBCS = "cbcs"
    CENC = "cenc"
    AES_128 = "aes-128"


class KeyClass(StrEnum):
    """Renditions that share a key, so that a licence can withhold larger pictures."""

    AUDIO = "audio"
    SD = "sd"
    HD = "hd"
    UHD = "uhd"
    ALL = "all"


_KID = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
SD_PIXELS = 1024 * 576
HD_PIXELS = 1920 * 1080
MAX_PERIODS = 16
"""Most periods of a key rotation: init segments list the keys of all classes and periods; a licence has up to 64."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key without its secret.

    Attributes:
        kid: The key's id: 32 lower-case hexadecimal digits.
        scheme: The only scheme that it is used with.
        key_class: The renditions that it decrypts.
        epoch: How many times the title has been given new keys, from 1.
        period: Number of the rotation period, from 1.
        iv: The constant initialisation vector of ``cbcs``: 32 hexadecimal digits; empty for schemes without one.
        checksum: First 8 bytes of the key id (as a little-endian GUID) encrypted with the key by AES-ECB, as 16
            hexadecimal digits. It distinguishes secrets of the same id; PlayReady publishes it. Empty if the secret is
            not known.
    """

    kid: str
    scheme: Scheme
    key_class: KeyClass
    epoch: int = 1
    period: int = 1
    iv: str = ""
    checksum: str = ""

    @property
    def uuid(self) -> str:
        """The id as a UUID with dashes, as in manifests."""
        return str(uuid.UUID(self.kid))


@dataclass(frozen=True, slots=True)
class Signal:
    """DRM signalling: one system's data about one key in manifests.

    Attributes:
        system: The system's UUID, in lower case.
        kid: The key's id.
        pssh: The ``pssh`` box, base64; empty if there is none.
        hls_uri: URI of ``EXT-X-KEY``; empty if the system has no signalling in HLS.
        hls_keyformat: KEYFORMAT of ``EXT-X-KEY``, likewise.
    """

    system: str
    kid: str
    pssh: str = ""
    hls_uri: str = ""
    hls_keyformat: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The first encrypted segment, and the times of key changes; the same for all tracks of a title.

    Attributes:
        lead_segments: Number of segments at the start that stay clear (the clear lead).
        period_segments: Number of segments that share a key; 0 if the key never changes.
    """

    lead_segments: int = 0
    period_segments: int = 0

    def period(self, number: int) -> int:
        """The period of a segment; both are numbered from 1."""
        return 1 + (number - 1) // self.period_segments if self.period_segments else 1

    def is_clear(self, number: int) -> bool:
        """Whether a segment is not encrypted."""
        return number <= self.lead_segments


WHOLE_TITLE = Schedule()
"""All segments are encrypted with one key."""


@dataclass(frozen=True, slots=True)
class Protection:
    """How a release is protected.

    Attributes:
        scheme: The scheme of its tracks.
        names: Its keys, by class and period.
        signals: DRM signalling for manifests.
        lead_segments: As in `Schedule`.
        period_segments: As in `Schedule`.
        hdcp: Whether HLS states which variants need a protected output.
    """

    scheme: Scheme
    names: tuple[KeyName, ...]
    signals: tuple[Signal, ...] = ()
    lead_segments: int = 0
    period_segments: int = 0
    hdcp: bool = False

    @property
    def schedule(self) -> Schedule:
        """The clear lead and the key periods."""
        return Schedule(self.lead_segments, self.period_segments)

    def track_keys(self, kids: Sequence[str]) -> "TrackKeys":
        """The keys of a track by their ids; raises `KeyError` for an unknown id."""
        return TrackKeys(tuple(map(self.name, kids)), self.schedule)

    def name(self, kid: str) -> KeyName:
        """The key with an id; raises `KeyError` if there is none."""
        for name in self.names:
            if name.kid == kid:
                return name
        raise KeyError(kid)


@dataclass(frozen=True, slots=True)
class TrackKeys:
    """The keys of a track, and when each applies.

    Attributes:
        names: Its keys, one per period.
        schedule: The clear lead and the key periods.
    """

    names: tuple[KeyName, ...]
    schedule: Schedule

    def name(self, number: int) -> KeyName:
        """The key for a segment's period, by the segment's number."""
        return self.names[self.schedule.period(number) - 1]


@dataclass(frozen=True, slots=True)
class TrackEncryption:
    """How a track of a plan is encrypted.

    Attributes:
        rendition: Id of the rendition.
        scheme: The scheme.
        kid: Id of its key in the first period.
        later_kids: Ids of its keys in later periods.
    """

    rendition: str
    scheme: Scheme
    kid: str
    later_kids: tuple[str, ...] = ()

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of its keys, one per period."""
        return (self.kid, *self.later_kids)


def video_class(width_px: int, height_px: int, *, one_key: bool = False) -> KeyClass:
    """The key class of a picture, by its number of pixels; SPEKE v2, PRESET-VIDEO-3."""
    if one_key:
        return KeyClass.ALL
    pixels = width_px * height_px
    if pixels <= SD_PIXELS:
        return KeyClass.SD
    return KeyClass.HD if pixels <= HD_PIXELS else KeyClass.UHD


def classes(*, one_key: bool = False) -> tuple[KeyClass, ...]:
    """All key classes that a title's keys may have."""
    return (KeyClass.ALL,) if one_key else (KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.UHD)


def key_names(
    title: str, scheme: Scheme, *, one_key: bool = False, epoch: int = 1, periods: int = 1
) -> tuple[KeyName, ...]:
    """The names of all keys that a title may need for a scheme, period by period."""
    return tuple(
        key_name(title, scheme, key_class, epoch=epoch, period=period)
        for period in range(1, periods + 1)
        for key_class in classes(one_key=one_key)
    )


def kid_at(kids: Sequence[str], schedule: Schedule, number: int) -> str:
    """Id of a segment's key; empty if the segment is clear.

    Args:
        kids: Ids of the track's keys, one per period; empty for a clear track.
        schedule: The clear lead and the key periods.
        number: The segment's number, from 1.
    """
    return kids[schedule.period(number) - 1] if kids and not schedule.is_clear(number) else ""


def find_names(title: str, kids: Collection[str], *, epochs: int) -> dict[str, KeyName]:
    """Find the names of a title's keys by their ids; ids of other titles are left out.

    All keys that the title may have are tried, the most likely ones first. A thousand take some two milliseconds.

    Args:
        title: Catalogue entry.
        kids: The ids.
        epochs: The last epoch to try.
    """
    wanted, names = {bytes.fromhex(kid): kid for kid in kids}, dict[str, KeyName]()
    prefix = hashlib.sha256(f"headend kid\0{title}\0".encode())
    for suffix, (period, epoch, scheme, key_class) in _suffixes(epochs):
        hashed = prefix.copy()
        hashed.update(suffix)
        if (kid := wanted.get(hashed.digest()[:16])) is not None:
            names[kid] = key_name(title, scheme, key_class, epoch=epoch, period=period)
            if len(names) == len(wanted):
                break
    return names


@cache
def _suffixes(epochs: int) -> tuple[tuple[bytes, tuple[int, int, Scheme, KeyClass]], ...]:
    """The part after the title in the strings that key ids are derived from, with its fields."""
    purposes = product(range(1, MAX_PERIODS + 1), range(1, epochs + 1), Scheme, KeyClass)
    return tuple(
        (f"{scheme}\0{key_class}\0{epoch}\0{period}".encode(), (period, epoch, scheme, key_class))
        for period, epoch, scheme, key_class in purposes
    )


def key_name(title: str, scheme: Scheme, key_class: KeyClass, *, epoch: int = 1, period: int = 1) -> KeyName:
    """Name a title's key.

    The id is derived from the key's purpose, so that a resumed job uses the same keys. Each key is for one scheme:
    using a secret with both CTR and CBC would weaken both.
    """
    what = "\0".join(("headend kid", title, scheme, key_class, str(epoch), str(period)))
    kid = hashlib.sha256(what.encode()).hexdigest()[:32]
    iv = hashlib.sha256(f"headend iv\0{kid}".encode()).hexdigest()[:32] if scheme is not Scheme.CENC else ""
    return KeyName(kid, scheme, key_class, epoch, period, iv)


def check_kid(text: str) -> str:
    """Normalize a key id or UUID to 32 lower-case hexadecimal digits.

    Raises:
        ValueError: It is neither.
    """
    kid = text.strip()
    if _KID.fullmatch(kid) is None:
        raise ValueError(kid)
    return kid.replace("-", "").lower()
