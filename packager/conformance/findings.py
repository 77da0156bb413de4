"""The results of checks, and how they read objects."""

from dataclasses import dataclass

from headend.core import documents
from headend.core.documents import Value
from headend.core.errors import ObjectMissing, StorageError
from headend.core.media import Damage
from headend.core.storage.base import Store


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in a release.

    Attributes:
        object: The object's path from the store's root.
        message: What is wrong with it, in one line.
    """

    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        findings: The faults; empty if the release is valid.
        objects: Number of objects that were read.
        bytes: Number of bytes that were read.
        frames: Number of video frames, over all renditions.
        damage: Damage in the master that is concealed: not a fault of the release.
        compared: Number of segments that were compared with the master.
        not_compared: Why nothing was compared; empty if something was.
        not_decoded: Why tracks were not decoded; empty if they were.
    """

    title: str
    release: str
    findings: tuple[Finding, ...]
    objects: int
    bytes: int
    frames: int
    damage: tuple[Damage, ...] = ()
    compared: int = 0
    not_compared: str = ""
    not_decoded: str = ""


@dataclass(frozen=True, slots=True)
class ObjectCheck:
    """The result of checking one object.

    Attributes:
        key: The object's key.
        size_bytes: Number of bytes that were read.
        wrong: Faults, one line each.
        frames: Number of samples in it.
        damage: For the release's document: damage that it records.
        sequences: The fragments' sequence numbers.
        lacks_keys: Whether it could not be decrypted, because its keys were not given.
    """

    key: str
    size_bytes: int
    wrong: tuple[str, ...]
    frames: int = 0
    sequences: tuple[int, ...] = ()
    damage: tuple[Damage, ...] = ()
    lacks_keys: bool = False


NO_KEYS = "its tracks are encrypted: give --keys to decrypt and decode them"


def read_document(store: Store, kind: type[Value], key: str) -> tuple[ObjectCheck, Value | None]:
    """Read a document; if it is missing or invalid, it is None and the check says why."""
    data = get_object(store, key)
    if data is None:
        return missing_object(key), None
    try:
        return ObjectCheck(key, len(data), ()), documents.read(kind, data, key=key)
    except StorageError as error:
        return ObjectCheck(key, len(data), (error.message,)), None


def get_object(store: Store, key: str) -> bytes | None:
    """An object's bytes; None if it is missing."""
    try:
        return store.get(key)
    except ObjectMissing:
        return None


def missing_object(key: str) -> ObjectCheck:
    """The check of a missing object."""
    return ObjectCheck(key, 0, ("it is missing",))
