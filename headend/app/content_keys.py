"""Content keys of a title: looked up when it is planned, and opened again by every worker that encrypts.

A plan holds only public facts: ids, initialisation vectors, checksums, and DRM signalling. Secrets are opened where
samples are encrypted or decrypted, and are never passed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headend.core.errors import ConfigError
from headend.core.keys import ContentKey, KeyStore, open_keys
from headend.core.media import EncodePlan, KeyClass, KeyName, Protection, Scheme, Signal
from headend.core.media.protection import key_names
from headend.core.settings import KeySettings, ProtectionSettings
from headend.core.storage import Store
from packager import encrypted_tracks, signalling
from packager.reading import read_release


def check(settings: KeySettings, title: str) -> None:
    """Check that a key source can be read, as far as that needs no request.

    Raises:
        ConfigError: It can't be read.
    """
    _source(settings).keys(title, ())


def scopes(settings: ProtectionSettings, plan: EncodePlan) -> tuple[encrypted_tracks.Scope, ...]:
    """Look up the keys that a plan's renditions need; return which codecs each scheme encrypts.

    Args:
        settings: How the title is encrypted.
        plan: The title's plan.

    Raises:
        ConfigError: A key is missing or wrong, or a scheme can't encrypt its tracks.
        StorageError: The key source can't be reached.
    """
    source = _source(settings.keys)
    systems = tuple(signalling.System(name) for name in settings.systems)
    schedule = encrypted_tracks.schedule(plan.grid, lead_s=settings.lead_s, rotate_s=settings.rotate_s)
    periods = schedule.period(plan.grid.segment_count)
    result = []
    for index, scheme in enumerate(settings.schemes):
        codecs = encrypted_tracks.codecs_of(scheme, index, settings.copied_codecs)
        used = {
            encrypted_tracks.class_of(rendition, one_key=settings.one_key)
            for rendition in encrypted_tracks.members(plan, scheme, codecs)
        }
        wanted = [
            name
            for name in key_names(plan.title, scheme, one_key=settings.one_key, epoch=settings.epoch, periods=periods)
            if name.key_class in used
        ]
        names, signals = _described(source, plan.title, wanted, [signalling.SYSTEM_IDS[system] for system in systems])
        # aes-128 needs no licence before playback, so it gets no clear lead.
        lead = 0 if scheme is Scheme.AES_128 else schedule.lead_segments
        protection = Protection(scheme, names, signals, lead, schedule.period_segments, settings.hdcp)
        result.append(encrypted_tracks.Scope(protection, codecs))
    return tuple(result)


def with_sound(settings: KeySettings, title: str, protection: Protection) -> Protection:
    """Add the keys for sound to the protection of a silent title; one that has them is returned unchanged.

    Args:
        settings: Where keys come from.
        title: Catalogue entry.
        protection: How the title is encrypted.

    Raises:
        ConfigError: A key is missing or wrong.
        StorageError: The key source can't be reached.
    """
    if any(name.key_class in (KeyClass.AUDIO, KeyClass.ALL) for name in protection.names):
        return protection
    periods = max(name.period for name in protection.names)
    every = key_names(title, protection.scheme, epoch=protection.names[0].epoch, periods=periods)
    wanted = [name for name in every if name.key_class is KeyClass.AUDIO]
    systems = tuple(dict.fromkeys(signal.system for signal in protection.signals))
    names, signals = _described(_source(settings), title, wanted, systems)
    places = {name.kid: index for index, name in enumerate(every)}
    return replace(
        protection,
        names=tuple(sorted((*names, *protection.names), key=lambda name: places[name.kid])),
        signals=tuple(sorted((*signals, *protection.signals), key=lambda signal: places[signal.kid])),
    )


def opened(settings: KeySettings, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
    """Open the keys that a plan names, by their ids.

    Raises:
        ConfigError: A key is missing, or its secret has changed since the title was planned.
        StorageError: The key source can't be reached.
    """
    source = _source(settings)
    stored = source.keys(title, names)
    keys = {name.kid: ContentKey(name, stored[name.kid].secret) for name in names}
    for name in names:
        if name.checksum and keys[name.kid].checksum() != name.checksum:
            raise ConfigError(
                f"the key {name.kid} in {source.url} is not the one that the tracks of {title!r} are encrypted with: "
                "give the keys that were used then",
                kid=name.kid,
            )
    return keys


def of_release(settings: KeySettings, store: Store, title: str, release: str) -> Mapping[str, ContentKey]:
    """Open the keys of a release, by their ids; empty for a clear one.

    Raises:
        ConfigError: There is no such release, or a key is missing or is not that of the tracks.
        StorageError: The store or the key source can't be reached.
    """
    presentation = read_release(store, title, release).presentation
    protections = [presentation.protection, *(copy.protection for copy in presentation.copies)]
    names = tuple(name for protection in protections if protection is not None for name in protection.names)
    return opened(settings, title, names) if names else {}


def _source(settings: KeySettings) -> KeyStore:
    return open_keys(settings.address, private_key=settings.private_key)


def _described(
    source: KeyStore, title: str, wanted: Sequence[KeyName], systems: Sequence[str]
) -> tuple[tuple[KeyName, ...], tuple[Signal, ...]]:
    """Return the public part of keys, and their signalling for DRM systems, which are given by UUID."""
    keys = source.keys(title, wanted)
    names = tuple(replace(keys[name.kid].name, checksum=keys[name.kid].checksum()) for name in wanted)
    given = source.signals(title, names, systems)
    return names, _completed(given, signalling.signals_for(names, systems))


def _completed(given: Sequence[Signal], built: Sequence[Signal]) -> tuple[Signal, ...]:
    """Complete the signalling that a key source gives with headend's own."""
    by_key = {(signal.system, signal.kid): signal for signal in given}
    return tuple(_merged(by_key.get((signal.system, signal.kid)), signal) for signal in built)


def _merged(given: Signal | None, built: Signal) -> Signal:
    if given is None:
        return built
    has_hls = bool(given.hls_uri)
    return replace(
        built,
        pssh=given.pssh or built.pssh,
        hls_uri=given.hls_uri if has_hls else built.hls_uri,
        hls_keyformat=given.hls_keyformat if has_hls else built.hls_keyformat,
    )
