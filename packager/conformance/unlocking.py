"""The keys of an encrypted release, and its segments in the clear."""

from collections.abc import Mapping
from dataclasses import dataclass

from headend.core.keys import ContentKey
from headend.core.media import (
    KeyName,
    Presentation,
    Schedule,
    Scheme,
)
from headend.core.media.protection import WHOLE_TITLE
from packager.presentation import StoredTrack


@dataclass(frozen=True, slots=True)
class Locks:
    """What the tracks of a release are encrypted with, and the keys that there are.

    Attributes:
        names: The keys of the release, by their ids.
        keys: Those that can be opened.
        schedules: When encryption begins and keys change, by scheme.
    """

    names: Mapping[str, KeyName]
    keys: Mapping[str, ContentKey]
    schedules: Mapping[Scheme, Schedule]

    @classmethod
    def of(cls, stated: Presentation, keys: Mapping[str, ContentKey]) -> "Locks":
        """The keys of a release, as its document states them, and those that can be opened."""
        protections = [one for one in (stated.protection, *(copy.protection for copy in stated.copies)) if one]
        names = {name.kid: name for one in protections for name in one.names}
        return cls(names, keys, {one.scheme: one.schedule for one in protections})

    def lacks(self, track: StoredTrack) -> bool:
        """Whether a track can't be opened."""
        return any(kid not in self.keys for kid in track.kids)

    def schedule(self, track: StoredTrack) -> Schedule:
        """When the encryption of a track begins and its keys change."""
        name = self.names.get(track.kid)
        return self.schedules[name.scheme] if name is not None else WHOLE_TITLE

    def key(self, track: StoredTrack, number: int) -> ContentKey:
        """The key of the period of a segment."""
        return self.keys[track.kids[self.schedule(track).period(number) - 1]]

    def description(self, track: StoredTrack, number: int) -> int:
        """Which sample entry a segment must use: encrypted tracks with a clear lead have a second one for it."""
        return 2 if track.kid and self.schedule(track).is_clear(number) else 1

    def is_whole(self, track: StoredTrack) -> bool:
        """Whether segments of a track are encrypted as a whole, their boxes included."""
        return track.kid in self.names and self.names[track.kid].scheme is Scheme.AES_128

    def opened(self, track: StoredTrack, init: bytes, data: bytes, number: int) -> tuple[bytes, bytes]:
        """A track's init segment and a segment in the clear; raises `PackagingError` where they can't be decrypted."""
        if not track.kid:
            return init, data
        from packager.decrypting import decrypted

        return decrypted(init, data, self.key(track, number))

    def opened_init(self, track: StoredTrack, init: bytes, period: int) -> bytes:
        """The init segment of a period in the clear, of a track whose segments are encrypted as a whole."""
        from packager.decrypting import decrypted_whole

        return decrypted_whole(init, self.keys[track.kids[period - 1]])

    def unwrapped(self, track: StoredTrack, number: int, data: bytes) -> bytes:
        """A segment whose boxes can be read."""
        if not self.is_whole(track):
            return data
        from packager.decrypting import decrypted_whole

        return decrypted_whole(data, self.key(track, number))
