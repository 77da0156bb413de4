"""Encrypting sound that is added to an encrypted title, in the title's schemes and with its keys for sound."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from headend.app import content_keys
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.media import Codec, Copy, EncodePlan, KeyClass, Presentation, Scheme
from headend.core.settings import COPIED_CODECS, KeySettings
from headend.core.storage import Store
from packager import encrypted_tracks


def with_keys(presentation: Presentation, keys: KeySettings | None) -> Presentation:
    """Check the keys for added sound; if the title has no sound yet, add keys for sound to its protection.

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
            raise ConfigError(f"{title!r} is not encrypted: remove --keys")
        return presentation
    if keys is None:
        raise ConfigError(f"{title!r} is encrypted, so added sound must be too: give the title's keys with --keys")
    protection = content_keys.with_sound(keys, title, presentation.protection)
    copies = tuple(
        replace(copy, protection=content_keys.with_sound(keys, title, copy.protection)) for copy in presentation.copies
    )
    protections = (protection, *(copy.protection for copy in copies))
    names = (name for scheme_protection in protections for name in scheme_protection.names)
    content_keys.opened(keys, title, [name for name in names if name.key_class in (KeyClass.AUDIO, KeyClass.ALL)])
    return replace(presentation, protection=protection, copies=copies)


def encrypted(plan: EncodePlan, presentation: Presentation) -> EncodePlan:
    """Replace the tracks of a plan by encrypted ones; the plan for a clear release is returned unchanged.

    Args:
        plan: The plan, with clear tracks.
        presentation: The release, from `with_keys`.
    """
    if presentation.protection is None:
        return plan
    copies = (encrypted_tracks.Scope(copy.protection, _codecs(copy, presentation)) for copy in presentation.copies)
    return encrypted_tracks.with_encrypted_tracks(plan, (encrypted_tracks.Scope(presentation.protection), *copies))


def check_vectors(store: Store, title: str, plans: Sequence[EncodePlan]) -> None:
    """Check that no two tracks share initialisation vectors.

    Raises:
        ConfigError: Two tracks would share them.
        StorageError: The store failed.
    """
    encrypted_plans = [plan for plan in plans if plan.sealings]
    if encrypted_plans:
        tracks = [
            *store.folders(layout.tracks(title)),
            *(track for plan in encrypted_plans for track in plan.tracks.values()),
        ]
        for plan in encrypted_plans:
            encrypted_tracks.check_vectors(plan, tracks)


def _codecs(copy: Copy, presentation: Presentation) -> frozenset[Codec]:
    """Infer the sound codecs of a copy from its tracks, since its original choice is not recorded."""
    usual: Iterable[Codec] = COPIED_CODECS
    if copy.protection.scheme is Scheme.AES_128:
        usual = encrypted_tracks.WHOLE_SEGMENT_CODECS
    present = {track.rendition.codec for track in copy.audio}
    absent = {track.rendition.codec for track in presentation.audio} - present
    return frozenset(usual) - absent | present
