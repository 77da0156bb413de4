"""Encrypting sound that is added to an encrypted title, in the title's schemes and with its keys for sound."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from headend.app import content_keys
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.media import Codec, Copy, EncodePlan, KeyClass, Presentation, Scheme
from headend.core.settings import COPIED_CODECS, KeySettings
from headend.core.storage import Store
from packager import sealing


def with_keys(presentation: Presentation, keys: KeySettings | None) -> Presentation:
    """Check the keys for added sound; a silent title gets the keys for sound that it lacks.

    Args:
        presentation: The release.
        keys: Where its keys come from; None for a clear title.

    Raises:
        ConfigError: An encrypted title needs keys, or a clear one was given some; a key for sound is missing, or is not
            the one that the title is encrypted with.
        StorageError: The key source can't be reached.
    """
    title = presentation.title
    if presentation.protection is None:
        if keys is not None:
            raise ConfigError(f"{title!r} is not encrypted: leave --keys out")
        return presentation
    if keys is None:
        raise ConfigError(f"{title!r} is encrypted, so added sound must be too: give the title's keys with --keys")
    protection = content_keys.with_sound(keys, title, presentation.protection)
    copies = tuple(
        replace(copy, protection=content_keys.with_sound(keys, title, copy.protection)) for copy in presentation.copies
    )
    names = (name for every in (protection, *(copy.protection for copy in copies)) for name in every.names)
    content_keys.opened(keys, title, [name for name in names if name.key_class in (KeyClass.AUDIO, KeyClass.ALL)])
    return replace(presentation, protection=protection, copies=copies)


def encrypted(plan: EncodePlan, presentation: Presentation) -> EncodePlan:
    """Add the encrypted tracks to a plan of sound; the plan for a clear release is returned unchanged.

    Args:
        plan: The plan, with clear tracks.
        presentation: The release, from `with_keys`.
    """
    if presentation.protection is None:
        return plan
    copies = (sealing.Scope(copy.protection, _codecs(copy, presentation)) for copy in presentation.copies)
    return sealing.sealed(plan, (sealing.Scope(presentation.protection), *copies))


def check_vectors(store: Store, title: str, plans: Sequence[EncodePlan]) -> None:
    """Check that no two tracks share initialisation vectors.

    Raises:
        ConfigError: Two tracks would share them.
        StorageError: The store failed.
    """
    encrypted = [plan for plan in plans if plan.sealings]
    if encrypted:
        stored = [
            *store.folders(layout.tracks(title)),
            *(track for plan in encrypted for track in plan.tracks.values()),
        ]
        for plan in encrypted:
            sealing.check_vectors(plan, stored)


def _codecs(copy: Copy, presentation: Presentation) -> frozenset[Codec]:
    """Infer the sound codecs of a copy from its tracks, since its original choice is not recorded."""
    taken: Iterable[Codec] = COPIED_CODECS
    if copy.protection.scheme is Scheme.AES_128:
        taken = sealing.WHOLE_SEGMENT_CODECS
    has = {track.rendition.codec for track in copy.audio}
    lacks = {track.rendition.codec for track in presentation.audio} - has
    return frozenset(taken) - lacks | has
