"""What is public of a title's protection: schemes, classes of keys and their ids. No noun holds a secret."""

import hashlib
import uuid
from dataclasses import dataclass
from enum import StrEnum


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


SD_PIXELS = 1024 * 576
HD_PIXELS = 1920 * 1080


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
class Protection:
    """How a release is protected.

    Attributes:
        scheme: The scheme of its tracks.
        names: Its keys, by class and period.
        signals: What manifests say to DRM systems.
    """

    scheme: Scheme
    names: tuple[KeyName, ...]
    signals: tuple[Signal, ...] = ()

    def name(self, kid: str) -> KeyName:
        """The key of an id; raises `KeyError` for a key of something else."""
        for name in self.names:
            if name.kid == kid:
                return name
        raise KeyError(kid)


@dataclass(frozen=True, slots=True)
class Sealing:
    """How a track of a plan is encrypted.

    Attributes:
        rendition: Id of the rendition that it holds.
        scheme: The scheme.
        kid: Id of its key.
    """

    rendition: str
    scheme: Scheme
    kid: str


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


def key_names(title: str, scheme: Scheme, *, one_key: bool = False, epoch: int = 1) -> tuple[KeyName, ...]:
    """The names of all keys that a title may need in a scheme."""
    return tuple(key_name(title, scheme, key_class, epoch=epoch) for key_class in classes(one_key=one_key))


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
    return uuid.UUID(text.strip().strip("{}")).hex
