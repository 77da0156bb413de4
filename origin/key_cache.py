"""A cache of content keys, in front of a key store."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ConfigError
from headend.core.keys import KeyStore
from headend.core.media.protection import KeyName, find_names

log = logging.getLogger("headend.licences")

MAX_EPOCHS = 8
"""Number of key epochs of a title that are searched for a key id."""
CAPACITY = 20_000
"""Maximum number of cached keys."""
CACHED_S = 60.0
"""How long a key, or the fact that it is missing, is cached."""


class KeyCache:
    """Finds a title's keys by their ids, and caches keys and missing keys.

    Args:
        source: Key store to read.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, source: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._names: SegmentedLRU[tuple[str, str], tuple[KeyName | None]] = SegmentedLRU(CAPACITY)
        self._secrets: SegmentedLRU[str, tuple[float, bytes | None]] = SegmentedLRU(CAPACITY)

    def names(self, title: str, kids: Iterable[str]) -> Mapping[str, KeyName]:
        """Names of the title's keys with these ids, by id; ids of other titles and unknown ids are left out.

        A key id is a digest of the key's name, so it is compared with the ids of all keys that the title can have.
        """
        cached = {kid: self._names.get((title, kid)) for kid in kids}
        uncached = {kid for kid, entry in cached.items() if entry is None}
        names = {kid: entry[0] for kid, entry in cached.items() if entry is not None and entry[0] is not None}
        if uncached:
            found = find_names(title, uncached, epochs=MAX_EPOCHS)
            names |= found
            for kid in uncached:
                self._names.put((title, kid), (found.get(kid),))
        return names

    async def secrets(self, title: str, names: Sequence[KeyName]) -> Mapping[str, bytes]:
        """Secrets of these keys, by id; keys that the store doesn't have are left out.

        Raises:
            StorageError: The key store can't be reached.
        """
        now_s = self._clock()
        cached = {name.kid: self._secrets.get(name.kid) for name in names}
        expired = [name for name in names if (entry := cached[name.kid]) is None or entry[0] <= now_s]
        if expired:
            for kid, secret in (await asyncio.to_thread(self._read, title, expired)).items():
                cached[kid] = (now_s + CACHED_S, secret)
                self._secrets.put(kid, (now_s + CACHED_S, secret))
        return {kid: entry[1] for kid, entry in cached.items() if entry is not None and entry[1] is not None}

    def clear(self) -> None:
        """Drop all secrets, so that they are read again when needed."""
        self._secrets = SegmentedLRU(CAPACITY)

    def _read(self, title: str, names: Sequence[KeyName]) -> dict[str, bytes | None]:
        try:
            return {kid: key.secret for kid, key in self._source.keys(title, names).items()}
        except ConfigError as error:
            if len(names) == 1:
                log.warning("can't read a content key: %s", error)
                return {names[0].kid: None}
            # One missing key fails the whole read, so read them one by one.
            return {kid: secret for name in names for kid, secret in self._read(title, [name]).items()}
