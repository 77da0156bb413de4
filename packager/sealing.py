"""Decide which tracks of a title are encrypted, with which key, and under which id. Pure, without secrets.

An encrypted track is a track of its own. Its name follows from the clear track's name, the scheme and the key, so that
encrypting while encoding and encrypting a clear release afterwards make the same track, and an interrupted job goes on
with what it has. Half of each initialisation vector of ``cenc`` follows from the name; two tracks of a title that would
share it are refused, since equal vectors under one key give the pictures away.
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
    Sealing,
    VideoRendition,
)
from headend.core.media.protection import MOST_PERIODS, WHOLE_TITLE, key_names, video_class
from headend.core.timing import Grid

FORMAT = 1
"""Version of what encrypted tracks are written as. Raise it when `packager.protecting` writes other bytes than before
for the same clear track."""
WHOLE_SEGMENT_CODECS = frozenset(one.codec for one in media_codecs() if one.in_aes_128)
"""Codecs that players of ``aes-128`` decode."""
TRACK_CHARACTERS = 10
SALT_CHARACTERS = 8
"""Of a track's digest; as bytes they are the first half of its initialisation vectors."""

Coded = VideoRendition | AudioRendition


@dataclass(frozen=True, slots=True)
class Scope:
    """What a scheme is for.

    Attributes:
        protection: The scheme and its keys.
        codecs: What is encrypted so; None for everything.
    """

    protection: Protection
    codecs: frozenset[Codec] | None = None


def class_of(rendition: Coded, *, one_key: bool) -> KeyClass:
    """The class of the key that a rendition is encrypted with."""
    if isinstance(rendition, VideoRendition):
        return video_class(rendition.width_px, rendition.height_px, one_key=one_key)
    return KeyClass.ALL if one_key else KeyClass.AUDIO


def codecs_of(scheme: Scheme, place: int, copied: Collection[Codec]) -> frozenset[Codec] | None:
    """Which codecs a scheme is used for.

    Args:
        scheme: The scheme.
        place: 0 for that of the release's tracks, which takes all.
        copied: What the copy in ``cenc`` is to have.

    Raises:
        ConfigError: The scheme can't stand there, or can't encrypt what it is to have.
    """
    if scheme is Scheme.AES_128:
        if not place:
            raise ConfigError(
                "aes-128 is for old HLS players only and can't be the first scheme: use --protect cbcs,aes-128"
            )
        return WHOLE_SEGMENT_CODECS
    return frozenset(copied) if place else None


def schedule(grid: Grid, *, lead_s: Fraction, rotate_s: Fraction) -> Schedule:
    """When encryption begins and keys change, in whole segments.

    Args:
        grid: Where segments lie.
        lead_s: Seconds at the start that are left in the clear; rounded up to whole segments.
        rotate_s: Seconds for which a key is used; rounded up likewise. 0 keeps the keys.

    Raises:
        ConfigError: Nothing would be encrypted, or there would be too many periods.
    """
    starts_s = grid.segment_starts_s()[:-1]
    lead = sum(start_s < lead_s for start_s in starts_s)
    if lead >= len(starts_s):
        raise ConfigError(
            f"a clear lead of {float(lead_s):g} s would leave nothing encrypted of a title of "
            f"{float(grid.duration_s):.3f} s: choose a shorter --clear-lead"
        )
    period = sum(start_s < rotate_s for start_s in starts_s)
    if period in (0, len(starts_s)):
        return Schedule(lead)
    found = Schedule(lead, period)
    if (periods := found.period(len(starts_s))) > MOST_PERIODS:
        raise ConfigError(
            f"--rotate would change keys {periods - 1} times; a title has at most {MOST_PERIODS} periods: choose "
            f"{float(grid.duration_s / MOST_PERIODS):.0f} s or more"
        )
    return found


def members(plan: EncodePlan, scheme: Scheme, codecs: frozenset[Codec] | None) -> tuple[Coded, ...]:
    """The renditions of a plan that a scheme encrypts.

    Args:
        plan: The plan.
        scheme: The scheme; ``aes-128`` has no trick play, since no byte range of it can be decrypted alone.
        codecs: What it is used for; None for everything.

    Raises:
        ConfigError: The plan has pictures, and the scheme encrypts none of them.
    """
    if plan.video and not any(codecs is None or one.codec in codecs for one in plan.video):
        there = ", ".join(dict.fromkeys(one.codec for one in plan.video))
        raise ConfigError(
            f"a copy in {scheme} would have no picture: it takes {', '.join(sorted(codecs or ()))}, and the title has "
            f"{there}"
        )
    trick = () if scheme is Scheme.AES_128 else plan.trick
    coded: tuple[Coded, ...] = (*plan.video, *trick, *plan.audio)
    return tuple(one for one in coded if codecs is None or one.codec in codecs)


def kids_of(title: str, protection: Protection) -> tuple[str, ...]:
    """Ids of all keys of a title's epoch in a scheme: what init segments list, whatever renditions there are."""
    first = protection.names[0]
    names = key_names(
        title,
        protection.scheme,
        one_key=first.key_class is KeyClass.ALL,
        epoch=first.epoch,
        periods=max(name.period for name in protection.names),
    )
    return tuple(name.kid for name in names)


def sealed(plan: EncodePlan, scopes: Sequence[Scope]) -> EncodePlan:
    """Give a plan of clear tracks the encrypted tracks that take their place.

    Args:
        plan: The plan; its tracks are clear.
        scopes: The schemes: that of the release's tracks, then those of copies.

    Raises:
        ConfigError: A copy would have no picture.
    """
    tracks, sealings = dict(plan.tracks), dict[str, Sealing]()
    for place, scope in enumerate(scopes):
        protection, scheme = scope.protection, scope.protection.scheme
        kids = kids_of(plan.title, protection)
        for rendition in members(plan, scheme, scope.codecs):
            name = f"{rendition.id}.{scheme}" if place else rendition.id
            keys = _keys(protection, rendition)
            tracks[name] = track_id(rendition.id, plan.tracks[rendition.id], keys, kids, protection.schedule)
            sealings[name] = Sealing(rendition.id, scheme, keys[0].kid, tuple(key.kid for key in keys[1:]))
    return replace(plan, tracks=tracks, sealings=sealings, protection=tuple(scope.protection for scope in scopes))


def track_id(
    rendition: str, clear: str, keys: Sequence[KeyName], kids: Sequence[str], schedule: Schedule = WHOLE_TITLE
) -> str:
    """Name an encrypted track by all that decides its bytes.

    Args:
        rendition: The rendition's id, for people.
        clear: Id of the clear track.
        keys: Its keys, one for each period; checksums tell two secrets of one id apart.
        kids: Ids of all keys that the init segment lists.
        schedule: When encryption begins and keys change.
    """
    first, *later = keys
    deciding: list[object] = [FORMAT, clear, first.scheme, first.kid, first.iv, first.checksum, list(kids)]
    if schedule != WHOLE_TITLE:
        changes = [[key.kid, key.iv, key.checksum] for key in later]
        deciding += [schedule.lead_segments, schedule.period_segments, changes]
    digest = hashlib.sha256(json.dumps(deciding, separators=(",", ":")).encode()).hexdigest()
    return f"{rendition}-{digest[:TRACK_CHARACTERS]}"


def init_of_period(init: bytes, name: KeyName) -> bytes:
    """The init segment that a track has in another period: the first one, with another key in ``tenc``.

    Raises:
        PackagingError: It is not the init segment of an encrypted track.
    """
    made = bytearray(init)
    tenc = boxes.protection_box(init, "schi/tenc")
    made[tenc.body + 8 : tenc.body + 24] = bytes.fromhex(name.kid)
    if name.iv:
        made[tenc.body + 25 : tenc.end] = bytes.fromhex(name.iv)
    return bytes(made)


def salt_of(track: str) -> bytes:
    """The first half of a track's initialisation vectors in ``cenc``: four bytes of its digest."""
    return bytes.fromhex(track[-TRACK_CHARACTERS:][:SALT_CHARACTERS])


def check_vectors(plan: EncodePlan, stored: Iterable[str]) -> None:
    """Refuse tracks that would share initialisation vectors with others.

    Args:
        plan: The encrypted plan.
        stored: Ids of all tracks that the title has in the store; their keys are not asked for.

    Raises:
        ConfigError: Two tracks have the same first half.
    """
    mine = {plan.tracks[name] for name, sealing in plan.sealings.items() if sealing.scheme is Scheme.CENC}
    seen: dict[bytes, str] = {}
    for track in (*sorted(mine), *(other for other in stored if other not in mine)):
        try:
            salt = salt_of(track)
        except ValueError:
            continue  # no track of ours
        if salt in seen and (seen[salt] in mine or track in mine):
            raise ConfigError(
                f"the tracks {seen[salt]} and {track} would share initialisation vectors: give the title new keys, "
                "with a higher --key-epoch"
            )
        seen.setdefault(salt, track)


def _keys(protection: Protection, rendition: Coded) -> tuple[KeyName, ...]:
    """The keys of a rendition, period by period."""
    one_key = any(name.key_class is KeyClass.ALL for name in protection.names)
    wanted = class_of(rendition, one_key=one_key)
    return tuple(sorted((n for n in protection.names if n.key_class is wanted), key=lambda name: name.period))
