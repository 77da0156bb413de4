"""What the checkers report, and how they read objects."""

from dataclasses import dataclass

from headend.core import documents
from headend.core.documents import Noun
from headend.core.errors import ObjectMissing, StorageError
from headend.core.media import (
    Damage,
)
from headend.core.storage.base import Store


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        object: The object's path from the store's root.
        message: What is wrong with it, in one line.
    """

    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading a release back has shown.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        findings: What is wrong; nothing if the release is sound.
        objects: How many objects were read.
        bytes: How much was read of them.
        frames: How many video frames were counted, over all renditions.
        damage: What was damaged in the master and is concealed: no fault of the release.
        compared: At how many places pictures and sound were compared with the master.
        not_compared: Why that was nowhere; empty where it was somewhere.
        not_decoded: Why tracks were not looked into; empty if they were.
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
    """What one object's bytes have shown.

    Attributes:
        key: The object.
        size_bytes: How much was read.
        wrong: What is not as it should be.
        frames: Samples in it.
        damage: Of the release's document: what it says is concealed.
        sequences: The fragments' sequence numbers.
        sealed: Whether it could not be looked into, for lack of its key.
    """

    key: str
    size_bytes: int
    wrong: tuple[str, ...]
    frames: int = 0
    sequences: tuple[int, ...] = ()
    damage: tuple[Damage, ...] = ()
    sealed: bool = False


NO_KEYS = "its tracks are encrypted: give --keys to have them decrypted and decoded"


def read_document(store: Store, kind: type[Noun], key: str) -> tuple[ObjectCheck, Noun | None]:
    """Read a document; None with the reason if it is missing or can't be read."""
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
    """The finding for an object that is not there."""
    return ObjectCheck(key, 0, ("it is missing",))
