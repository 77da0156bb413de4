"""The public part of a title's protection: schemes, key classes and key ids. No type here holds a secret."""

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
    """Which renditions share a key, so that a licence can withhold the larger pictures."""

    AUDIO = "audio"
    SD = "sd"
    HD = "hd"
    UHD = "uhd"
    ALL = "all"


_KID = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
SD_PIXELS = 1024 * 576
HD_PIXELS = 1920 * 1080
MOST_PERIODS = 16
"""Periods of a key rotation. Init segments list the keys of all classes and periods, and a licence gives 64 keys."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key without its secret.

    Attributes:
        kid: The key's id: 32 small hexadecimal digits.
        scheme: The one scheme that it is used with.
        key_class: The renditions that it opens.
        epoch: Counts the times that the title was given new keys, from 1.
        period: Counts the keys of a rotation, from 1.
        iv: The constant initialisation vector of ``cbcs``: 32 hexadecimal digits; empty for schemes that have none.
        checksum: First 8 bytes of the key id (as a little-endian GUID) encrypted under the key by AES-ECB, as 16
            hexadecimal digits. It tells two secrets under one id apart, and PlayReady publishes it. Empty if the secret
            is not known.
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
        """The id as manifests write it, with dashes."""
        return str(uuid.UUID(self.kid))


@dataclass(frozen=True, slots=True)
class Signal:
    """How one DRM system is told about a key in manifests.

    Attributes:
        system: The system's UUID, in small letters.
        kid: Whose key.
        pssh: The ``pssh`` box, base64; empty if there is none.
        hls_uri: What stands in ``EXT-X-KEY``; empty if the system has none in HLS.
        hls_keyformat: Likewise.
    """

    system: str
    kid: str
    pssh: str = ""
    hls_uri: str = ""
    hls_keyformat: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """From which segment on a track is encrypted, and when its key changes. All tracks of a title change together.

    Attributes:
        lead_segments: How many segments at the start are left in the clear (the clear lead).
        period_segments: How many segments share a key; 0 where the key never changes.
    """

    lead_segments: int = 0
    period_segments: int = 0

    def period(self, number: int) -> int:
        """The period of a segment, from 1, by the segment's number, from 1."""
        return 1 + (number - 1) // self.period_segments if self.period_segments else 1

    def is_clear(self, number: int) -> bool:
        """Whether a segment is in the clear."""
        return number <= self.lead_segments


WHOLE_TITLE = Schedule()
"""Encrypted from the first segment to the last, with one key."""


@dataclass(frozen=True, slots=True)
class Protection:
    """How a release is protected.

    Attributes:
        scheme: The scheme of its tracks.
        names: Its keys, by class and period.
        signals: What manifests say to DRM systems.
        lead_segments: As in `Schedule`.
        period_segments: As in `Schedule`.
        hdcp: Whether HLS says which variants need a protected output.
    """

    scheme: Scheme
    names: tuple[KeyName, ...]
    signals: tuple[Signal, ...] = ()
    lead_segments: int = 0
    period_segments: int = 0
    hdcp: bool = False

    @property
    def schedule(self) -> Schedule:
        """When encryption begins and keys change."""
        return Schedule(self.lead_segments, self.period_segments)

    def track_keys(self, kids: Sequence[str]) -> "TrackKeys":
        """What a track is encrypted with, by the ids of its keys; raises `KeyError` for a key of something else."""
        return TrackKeys(tuple(map(self.name, kids)), self.schedule)

    def name(self, kid: str) -> KeyName:
        """The key of an id; raises `KeyError` for a key of something else."""
        for name in self.names:
            if name.kid == kid:
                return name
        raise KeyError(kid)


@dataclass(frozen=True, slots=True)
class TrackKeys:
    """What a track is encrypted with, and when.

    Attributes:
        names: Its keys, one for each period.
        schedule: When encryption begins and keys change.
    """

    names: tuple[KeyName, ...]
    schedule: Schedule

    def name(self, number: int) -> KeyName:
        """The key of the period of a segment, by the segment's number."""
        return self.names[self.schedule.period(number) - 1]


@dataclass(frozen=True, slots=True)
class Sealing:
    """How a track of a plan is encrypted.

    Attributes:
        rendition: Id of the rendition that it holds.
        scheme: The scheme.
        kid: Id of its key, that of the first period.
        later_kids: Ids of its keys in later periods.
    """

    rendition: str
    scheme: Scheme
    kid: str
    later_kids: tuple[str, ...] = ()

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of its keys, one for each period."""
        return (self.kid, *self.later_kids)


def video_class(width_px: int, height_px: int, *, one_key: bool = False) -> KeyClass:
    """The class of a picture by its number of pixels; SPEKE v2, PRESET-VIDEO-3."""
    if one_key:
        return KeyClass.ALL
    pixels = width_px * height_px
    if pixels <= SD_PIXELS:
        return KeyClass.SD
    return KeyClass.HD if pixels <= HD_PIXELS else KeyClass.UHD


def classes(*, one_key: bool = False) -> tuple[KeyClass, ...]:
    """The classes that a title's keys may have, whatever renditions it has."""
    return (KeyClass.ALL,) if one_key else (KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.UHD)


def key_names(
    title: str, scheme: Scheme, *, one_key: bool = False, epoch: int = 1, periods: int = 1
) -> tuple[KeyName, ...]:
    """The names of all keys that a title may need in a scheme, period by period."""
    return tuple(
        key_name(title, scheme, key_class, epoch=epoch, period=period)
        for period in range(1, periods + 1)
        for key_class in classes(one_key=one_key)
    )


def kid_at(kids: Sequence[str], schedule: Schedule, number: int) -> str:
    """Id of the key of a segment; empty if the segment is in the clear.

    Args:
        kids: Ids of the track's keys, one for each period; empty for a clear track.
        schedule: When encryption begins and keys change.
        number: The segment's, from 1.
    """
    return kids[schedule.period(number) - 1] if kids and not schedule.is_clear(number) else ""


def find_names(title: str, kids: Collection[str], *, epochs: int) -> dict[str, KeyName]:
    """Find what the keys of a title are for, by their ids; those of other titles are not found.

    All keys that the title may have are tried, the most likely ones first. A thousand take some two milliseconds.

    Args:
        title: Catalogue entry.
        kids: The ids.
        epochs: The last epoch that is tried.
    """
    wanted, found = {bytes.fromhex(kid): kid for kid in kids}, dict[str, KeyName]()
    begun = hashlib.sha256(f"headend kid\0{title}\0".encode())
    for end, (period, epoch, scheme, key_class) in _ends(epochs):
        hashed = begun.copy()
        hashed.update(end)
        if (kid := wanted.get(hashed.digest()[:16])) is not None:
            found[kid] = key_name(title, scheme, key_class, epoch=epoch, period=period)
            if len(found) == len(wanted):
                break
    return found


@cache
def _ends(epochs: int) -> tuple[tuple[bytes, tuple[int, int, Scheme, KeyClass]], ...]:
    """What stands behind the title in all that the ids of its keys are derived from."""
    purposes = product(range(1, MOST_PERIODS + 1), range(1, epochs + 1), Scheme, KeyClass)
    return tuple((f"{one[2]}\0{one[3]}\0{one[1]}\0{one[0]}".encode(), one) for one in purposes)


def key_name(title: str, scheme: Scheme, key_class: KeyClass, *, epoch: int = 1, period: int = 1) -> KeyName:
    """Name a title's key.

    The id is derived from what the key is for, so that a job that is taken up again finds the keys that it began with.
    A key belongs to one scheme: the same secret under CTR and CBC would weaken both.
    """
    what = "\0".join(("headend kid", title, scheme, key_class, str(epoch), str(period)))
    kid = hashlib.sha256(what.encode()).hexdigest()[:32]
    iv = hashlib.sha256(f"headend iv\0{kid}".encode()).hexdigest()[:32] if scheme is not Scheme.CENC else ""
    return KeyName(kid, scheme, key_class, epoch, period, iv)


def check_kid(text: str) -> str:
    """Return a key's id as 32 small hexadecimal digits, from that form or a UUID's.

    Raises:
        ValueError: It is neither.
    """
    kid = text.strip()
    if _KID.fullmatch(kid) is None:
        raise ValueError(kid)
    return kid.replace("-", "").lower()
