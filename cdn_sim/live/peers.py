"""The other edges of a cluster: which of them to ask for an object."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peers:
    """The other edges of a cluster, ranked for each object by rendezvous hashing.

    Attributes:
        urls: Their addresses.
        itself: This edge's own address among its peers; empty without peers.
    """

    urls: tuple[str, ...] = ()
    itself: str = ""

    def ranked(self, key: str) -> tuple[str, ...]:
        """All peers, the best one for an object first."""
        return tuple(sorted(self.urls, key=lambda url: _weight(url, key), reverse=True))

    def better(self, key: str) -> tuple[str, ...]:
        """The best peer for an object, if it ranks above this edge; else none."""
        ranked = sorted((*self.urls, self.itself), key=lambda url: _weight(url, key), reverse=True)
        return tuple(ranked[: ranked.index(self.itself)])[:1]


ALONE = Peers()
"""No peers."""


def _weight(url: str, key: str) -> bytes:
    return hashlib.blake2b(key.encode(), key=url.encode()[:64], digest_size=8).digest()
