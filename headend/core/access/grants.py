"""Checks a request against its playback token: title, expiry, territory, licence window, plan and screens.

The token is part of the path, ``/t/{token}/{title}/…``, so relative URLs keep it and manifests need no rewriting. The
request's territory comes from a statement that an edge has signed, never from the client. The reason of a refusal is a
constant that never repeats any part of the request.
"""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum

from multidict import istr

from headend.core.access.leases import Leases
from headend.core.access.tokens import Grant, Keyring, decode_token, signed_territory
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.http.conditions import Headers

EDGE = istr("Headend-Edge")
"""Header in which an edge states a request's territory; see `tokens.sign_territory`."""
SKEW_S = 60
"""How long a token is accepted after it has expired, because clocks differ. Licence windows have no such tolerance."""

VERIFIED = 20_000
"""Number of tokens whose verified signature is cached."""

_TOKENED = "/t/"


class Reason(StrEnum):
    """Why a request is refused, as shown to the client."""

    TOKEN = "no valid token"
    EXPIRED = "the token has expired"
    TERRITORY = "not available here"
    LICENCE = "not available now"
    PLAN = "not in the plan"
    SCREENS = "too many screens"


class Denied(Exception):
    """A request that its token does not allow.

    Args:
        reason: Why it is refused.
        retry_s: Seconds until a retry may succeed; None if no retry will.
    """

    def __init__(self, reason: Reason, retry_s: float | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_s = retry_s


def split_token(path: str) -> tuple[str | None, str]:
    """Separate the token from a path; the token is None if there is none."""
    if path.startswith(_TOKENED):
        token, slash, rest = path[len(_TOKENED) :].partition("/")
        if token and slash:
            return token, f"/{rest}"
    return None, path


def without_token(path: str) -> str:
    """Remove the token, so that the path may be logged."""
    return split_token(path)[1]


class GrantChecker:
    """Checks requests against their tokens.

    Callers must use the methods in the order in which they are defined, so that nothing is looked up for clients
    without a valid token.

    Args:
        keys: Keys for tokens and for edges' statements.
        leases: Screens in use.
        clock: Unix time in seconds.
    """

    def __init__(self, keys: Keyring, leases: Leases, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._leases = leases
        self._clock = clock
        self._verified: SegmentedLRU[str, Grant] = SegmentedLRU(VERIFIED)

    @property
    def keys(self) -> Keyring:
        """Keys for tokens and for edges' statements; may be replaced at any time."""
        return self._keys

    @keys.setter
    def keys(self, keys: Keyring) -> None:
        self._keys = keys
        self._verified = SegmentedLRU(VERIFIED)

    def territory(self, headers: Headers) -> str | None:
        """The request's territory, if an edge states it; otherwise None."""
        statements = headers.getall(EDGE, None)
        if statements is None or len(statements) != 1:
            return None
        return signed_territory(statements[0], self.keys, self._clock())

    def grant(self, token: str | None, title: str | None, territory: str | None) -> Grant:
        """Check a token's title, expiry, territory and licence window.

        Args:
            token: The token in the path.
            title: The requested title.
            territory: The result of `territory`.

        Raises:
            Denied: The token does not allow the request.
        """
        grant = self._verify(token) if token is not None else None
        if grant is None or grant.title != title:
            raise Denied(Reason.TOKEN)
        now_s = self._clock()
        if now_s >= grant.expires_s + SKEW_S:
            raise Denied(Reason.EXPIRED)
        if grant.territories and territory not in grant.territories:
            raise Denied(Reason.TERRITORY)
        if grant.licensed_from_s is not None and now_s < grant.licensed_from_s:
            raise Denied(Reason.LICENCE, grant.licensed_from_s - now_s)
        if grant.licensed_until_s is not None and now_s >= grant.licensed_until_s:
            raise Denied(Reason.LICENCE)
        return grant

    def _verify(self, token: str) -> Grant | None:
        """Decode a token, or return the cached grant if it was verified before."""
        grant = self._verified.get(token)
        if grant is None and (grant := decode_token(token, self._keys)) is not None:
            self._verified.put(token, grant)
        return grant

    def check_plan(self, grant: Grant, heights_px: Iterable[int]) -> None:
        """Check requested resolutions against the plan's limit.

        Args:
            grant: The token's grant.
            heights_px: Heights of the requested video tracks; 0 for sound and text.

        Raises:
            Denied: All heights are above the plan's limit.
        """
        limit = grant.max_height_px
        if limit is None:
            return
        heights = [height for height in heights_px if height]
        if heights and min(heights) > limit:
            raise Denied(Reason.PLAN)

    def has_screen(self, grant: Grant) -> bool:
        """Whether the session's lease is so recent that it need not be renewed now."""
        return self._leases.is_renewed(grant.account, grant.session)

    async def take_screen(self, grant: Grant, *, segment_s: float) -> None:
        """Take or renew the session's lease on one of the account's screens.

        Args:
            grant: The token's grant.
            segment_s: Length of a segment.

        Raises:
            Denied: All screens are taken.
        """
        wait_s = await self._leases.take(grant.account, grant.session, screens=grant.screens, segment_s=segment_s)
        if wait_s:
            raise Denied(Reason.SCREENS, wait_s)
