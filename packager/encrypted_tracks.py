"""Decides which tracks of a title are encrypted, with which keys, and what their ids are. Needs no secrets and no I/O.

An encrypted track is a separate track. Its id is derived from the clear track's id, the scheme and the keys. So
encrypting while encoding and encrypting a clear release later give the same track, and an interrupted job can resume.
Half of each initialisation vector of ``cenc`` is derived from the track's id. Two tracks of a title for which this half
is equal are rejected, because equal vectors under one key would reveal the content.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core import boxes
from headend.core.codecs import media_codecs
from headend.core.errors import ConfigError
from headend.core.media import (
    AudioRendition,
    Codec,
    EncodePlan,
    KeyClass,
    KeyName,
    Protection,
    Schedule,
    Scheme,
    TrackEncryption,
    VideoRendition,
)
from headend.core.media.protection import MAX_PERIODS, WHOLE_TITLE, key_names, video_class
from headend.core.timing import Grid

FORMAT = 1
"""Version of the format of encrypted tracks. Increment it if `packager.protecting` changes so that it writes different
bytes for the same clear track."""
WHOLE_SEGMENT_CODECS = frozenset(codec.codec for codec in media_codecs() if codec.in_aes_128)
"""Codecs that players of HLS with ``aes-128`` decode."""
TRACK_CHARACTERS = 10
SALT_CHARACTERS = 8
"""Characters of a track's digest that give the first half of its initialisation vectors."""

Coded = VideoRendition | AudioRendition


@dataclass(frozen=True, slots=True)
class Scope:
    """An encryption scheme, and the codecs that it is used for.

    Attributes:
        protection: The scheme and its keys.
        codecs: Codecs to encrypt; None for all.
    """

    protection: Protection
    codecs: frozenset[Codec] | None = None


def class_of(rendition: Coded, *, one_key: bool) -> KeyClass:
    """The key class of a rendition."""
    if isinstance(rendition, VideoRendition):
        return video_class(rendition.width_px, rendition.height_px, one_key=one_key)
    return KeyClass.ALL if one_key else KeyClass.AUDIO


def codecs_of(scheme: Scheme, position: int, copied: Collection[Codec]) -> frozenset[Codec] | None:
    """The codecs that a scheme is used for; None for all.

    Args:
        scheme: The scheme.
        position: Its position in the list of schemes. The first one, 0, is used for all tracks; others are for copies.
        copied: Codecs to copy in ``cenc``.

    Raises:
        ConfigError: The scheme can't be the first one.
    """
    if scheme is Scheme.AES_128:
        if not position:
            raise ConfigError(
                "aes-128 is for old HLS players only and can't be the first scheme: use --protect cbcs,aes-128"
            )
        return WHOLE_SEGMENT_CODECS
    return frozenset(copied) if position else None


def schedule(grid: Grid, *, lead_s: Fraction, rotate_s: Fraction) -> Schedule:
    """The clear lead and the key periods, in whole segments.

    Args:
        grid: Segment boundaries.
        lead_s: Length of the clear lead in seconds; rounded up to whole segments.
        rotate_s: Length of a key period in seconds; rounded up to whole segments. 0 for a single period.

    Raises:
        ConfigError: Nothing would be encrypted, or there would be too many periods.
    """
    starts_s = grid.segment_starts_s()[:-1]
    lead = sum(start_s < lead_s for start_s in starts_s)
    if lead >= len(starts_s):
        raise ConfigError(
            f"with a clear lead of {float(lead_s):g} s, nothing of this title of {float(grid.duration_s):.3f} s would "
            "be encrypted: choose a shorter --clear-lead"
        )
    period = sum(start_s < rotate_s for start_s in starts_s)
    if period in (0, len(starts_s)):
        return Schedule(lead)
    result = Schedule(lead, period)
    if (periods := result.period(len(starts_s))) > MAX_PERIODS:
        raise ConfigError(
            f"--rotate would change keys {periods - 1} times; a title has at most {MAX_PERIODS} periods: choose "
            f"{float(grid.duration_s / MAX_PERIODS):.0f} s or more"
        )
    return result


def members(plan: EncodePlan, scheme: Scheme, codecs: frozenset[Codec] | None) -> tuple[Coded, ...]:
    """The renditions of a plan that a scheme encrypts.

    Args:
        plan: The plan.
        scheme: The scheme. ``aes-128`` excludes trick play, since byte ranges can't be decrypted on their own.
        codecs: Codecs that it is used for; None for all.

    Raises:
        ConfigError: The plan has pictures, and the scheme encrypts none of them.
    """
    if plan.video and not any(codecs is None or video.codec in codecs for video in plan.video):
        available = ", ".join(dict.fromkeys(video.codec for video in plan.video))
        raise ConfigError(
            f"a copy in {scheme} would have no video: it is made of {', '.join(sorted(codecs or ()))}, but the title "
            f"has {available}"
        )
    trick = () if scheme is Scheme.AES_128 else plan.trick
    coded: tuple[Coded, ...] = (*plan.video, *trick, *plan.audio)
    return tuple(rendition for rendition in coded if codecs is None or rendition.codec in codecs)


def kids_of(title: str, protection: Protection) -> tuple[str, ...]:
    """Ids of all keys of a title's epoch for a scheme, as listed in init segments; the same for all renditions."""
    first = protection.names[0]
    names = key_names(
        title,
        protection.scheme,
        one_key=first.key_class is KeyClass.ALL,
        epoch=first.epoch,
        periods=max(name.period for name in protection.names),
    )
    return tuple(name.kid for name in names)


def with_encrypted_tracks(plan: EncodePlan, scopes: Sequence[Scope]) -> EncodePlan:
    """Replace the clear tracks of a plan by encrypted ones.

    Args:
        plan: A plan with clear tracks.
        scopes: The scheme of the release's tracks, then those of copies.

    Raises:
        ConfigError: A copy would have no picture.
    """
    tracks, sealings = dict(plan.tracks), dict[str, TrackEncryption]()
    for position, scope in enumerate(scopes):
        protection, scheme = scope.protection, scope.protection.scheme
        kids = kids_of(plan.title, protection)
        for rendition in members(plan, scheme, scope.codecs):
            name = f"{rendition.id}.{scheme}" if position else rendition.id
            keys = _keys(protection, rendition)
            tracks[name] = track_id(rendition.id, plan.tracks[rendition.id], keys, kids, protection.schedule)
            sealings[name] = TrackEncryption(rendition.id, scheme, keys[0].kid, tuple(key.kid for key in keys[1:]))
    return replace(plan, tracks=tracks, sealings=sealings, protection=tuple(scope.protection for scope in scopes))


def track_id(
    rendition: str, clear: str, keys: Sequence[KeyName], kids: Sequence[str], schedule: Schedule = WHOLE_TITLE
) -> str:
    """Derive an encrypted track's id from everything that determines its bytes.

    Args:
        rendition: The rendition's id, as a readable prefix.
        clear: Id of the clear track.
        keys: Its keys, one per period; their checksums distinguish different secrets with the same id.
        kids: Ids of all keys in the init segment.
        schedule: The clear lead and the key periods.
    """
    first, *later = keys
    parts: list[object] = [FORMAT, clear, first.scheme, first.kid, first.iv, first.checksum, list(kids)]
    if schedule != WHOLE_TITLE:
        changes = [[key.kid, key.iv, key.checksum] for key in later]
        parts += [schedule.lead_segments, schedule.period_segments, changes]
    digest = hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
    return f"{rendition}-{digest[:TRACK_CHARACTERS]}"


def init_of_period(init: bytes, name: KeyName) -> bytes:
    """A track's init segment for another period: the first period's, with another key in ``tenc``.

    Raises:
        PackagingError: It is not the init segment of an encrypted track.
    """
    changed = bytearray(init)
    tenc = boxes.protection_box(init, "schi/tenc")
    changed[tenc.body + 8 : tenc.body + 24] = bytes.fromhex(name.kid)
    if name.iv:
        changed[tenc.body + 25 : tenc.end] = bytes.fromhex(name.iv)
    return bytes(changed)


def salt_of(track: str) -> bytes:
    """The first half of a track's initialisation vectors in ``cenc``: four bytes of its digest."""
    return bytes.fromhex(track[-TRACK_CHARACTERS:][:SALT_CHARACTERS])


def check_vectors(plan: EncodePlan, stored: Iterable[str]) -> None:
    """Reject tracks that would share initialisation vectors with others.

    Args:
        plan: The encrypted plan.
        stored: Ids of all tracks of the title in the store, whatever their keys.

    Raises:
        ConfigError: The vectors of two tracks have the same first half.
    """
    planned = {plan.tracks[name] for name, encryption in plan.sealings.items() if encryption.scheme is Scheme.CENC}
    by_salt: dict[bytes, str] = {}
    for track in (*sorted(planned), *(other for other in stored if other not in planned)):
        try:
            salt = salt_of(track)
        except ValueError:
            continue  # not a track of headend
        if salt in by_salt and (by_salt[salt] in planned or track in planned):
            raise ConfigError(
                f"the tracks {by_salt[salt]} and {track} would share initialisation vectors: give the title new keys, "
                "with a higher --key-epoch"
            )
        by_salt.setdefault(salt, track)


def _keys(protection: Protection, rendition: Coded) -> tuple[KeyName, ...]:
    """The keys of a rendition, period by period."""
    one_key = any(name.key_class is KeyClass.ALL for name in protection.names)
    wanted = class_of(rendition, one_key=one_key)
    return tuple(sorted((n for n in protection.names if n.key_class is wanted), key=lambda name: name.period))
