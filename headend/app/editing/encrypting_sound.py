"""Encrypting sound that is added to an encrypted title: in the title's schemes, and with its own keys of sound."""

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
    """Make sure that sound can be added to a release; a silent title gets the keys of sound that it lacks.

    Args:
        presentation: The release.
        keys: Where its keys come from; None for a clear title.

    Raises:
        ConfigError: The title is encrypted and there are no keys, or the other way round; a key of sound is missing, or
            not the one that the title is encrypted with.
        StorageError: The source of keys can't be reached.
    """
    title = presentation.title
    if presentation.protection is None:
        if keys is not None:
            raise ConfigError(f"{title!r} is not encrypted: leave --keys out")
        return presentation
    if keys is None:
        raise ConfigError(f"{title!r} is encrypted, and so is sound that is added: give the title's keys with --keys")
    protection = content_keys.with_sound(keys, title, presentation.protection)
    copies = tuple(
        replace(copy, protection=content_keys.with_sound(keys, title, copy.protection)) for copy in presentation.copies
    )
    names = (name for one in (protection, *(copy.protection for copy in copies)) for name in one.names)
    content_keys.opened(keys, title, [name for name in names if name.key_class in (KeyClass.AUDIO, KeyClass.ALL)])
    return replace(presentation, protection=protection, copies=copies)


def encrypted(plan: EncodePlan, presentation: Presentation) -> EncodePlan:
    """Give a plan of clear sound the encrypted tracks that the release gets in its place; of a clear release, none.

    Args:
        plan: The sound.
        presentation: The release, from `with_keys`.
    """
    if presentation.protection is None:
        return plan
    copies = (sealing.Scope(copy.protection, _codecs(copy, presentation)) for copy in presentation.copies)
    return sealing.sealed(plan, (sealing.Scope(presentation.protection), *copies))


def check_vectors(store: Store, title: str, plans: Sequence[EncodePlan]) -> None:
    """Refuse sound that would share initialisation vectors with other tracks.

    Raises:
        ConfigError: Two tracks would.
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
    """The codecs of sound that a copy takes: what it was made for is only known from what it has."""
    taken: Iterable[Codec] = COPIED_CODECS
    if copy.protection.scheme is Scheme.AES_128:
        taken = sealing.WHOLE_SEGMENT_CODECS
    has = {track.rendition.codec for track in copy.audio}
    lacks = {track.rendition.codec for track in presentation.audio} - has
    return frozenset(taken) - lacks | has
