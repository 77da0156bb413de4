"""The keys of an encrypted release, and decryption of its segments."""

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
class ReleaseKeys:
    """The keys that the tracks of a release need, and those that are available.

    Attributes:
        names: The keys of the release, by id.
        keys: The available keys, by id.
        schedules: Clear lead and key periods, by scheme.
    """

    names: Mapping[str, KeyName]
    keys: Mapping[str, ContentKey]
    schedules: Mapping[Scheme, Schedule]

    @classmethod
    def of(cls, stated: Presentation, keys: Mapping[str, ContentKey]) -> "ReleaseKeys":
        """Collect the keys that a release's document states."""
        protections = [
            protection for protection in (stated.protection, *(copy.protection for copy in stated.copies)) if protection
        ]
        names = {name.kid: name for protection in protections for name in protection.names}
        return cls(names, keys, {protection.scheme: protection.schedule for protection in protections})

    def lacks(self, track: StoredTrack) -> bool:
        """Whether a key of the track is not available."""
        return any(kid not in self.keys for kid in track.kids)

    def schedule(self, track: StoredTrack) -> Schedule:
        """Clear lead and key periods of a track."""
        name = self.names.get(track.kid)
        return self.schedules[name.scheme] if name is not None else WHOLE_TITLE

    def key(self, track: StoredTrack, number: int) -> ContentKey:
        """The key for a segment's period."""
        return self.keys[track.kids[self.schedule(track).period(number) - 1]]

    def description(self, track: StoredTrack, number: int) -> int:
        """The sample entry that a segment must use: with a clear lead, encrypted tracks have a second one for it."""
        return 2 if track.kid and self.schedule(track).is_clear(number) else 1

    def is_whole(self, track: StoredTrack) -> bool:
        """Whether segments of a track are encrypted as a whole, including their boxes."""
        return track.kid in self.names and self.names[track.kid].scheme is Scheme.AES_128

    def decrypted(self, track: StoredTrack, init: bytes, data: bytes, number: int) -> tuple[bytes, bytes]:
        """Decrypt a track's init segment and a segment; raises `PackagingError` if that is impossible."""
        if not track.kid:
            return init, data
        from packager.decrypting import decrypted

        return decrypted(init, data, self.key(track, number))

    def decrypted_init(self, track: StoredTrack, init: bytes, period: int) -> bytes:
        """Decrypt the init segment of a period, of a track whose segments are encrypted as a whole."""
        from packager.decrypting import decrypted_whole

        return decrypted_whole(init, self.keys[track.kids[period - 1]])

    def unwrapped(self, track: StoredTrack, number: int, data: bytes) -> bytes:
        """Decrypt a segment that is encrypted as a whole, so that its boxes can be read; return others unchanged."""
        if not self.is_whole(track):
            return data
        from packager.decrypting import decrypted_whole

        return decrypted_whole(data, self.key(track, number))
