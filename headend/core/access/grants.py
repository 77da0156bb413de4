"""The checks of a playback token: title, clock, territory, licence, plan and screens.

The token stands in the path, ``/t/{token}/{title}/…``, so that the relative addresses of manifests carry it along and
the manifests stay as they were published. Where a request comes from is what an edge vouches for, never what a client
says. A refusal is a constant that names its reason, and never repeats anything of the request.
"""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum

from multidict import istr

from headend.core.access.leases import Leases
from headend.core.access.tokens import Grant, Keyring, granted, vouched
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.http.conditions import Headers

EDGE = istr("Headend-Edge")
"""The header in which an edge says where a request comes from; see `tokens.vouch`."""
SKEW_S = 60
"""How long after its end a token is still good, since clocks differ. A licence's window is exact."""

VERIFIED = 20_000
"""Tokens whose signature is not checked again."""

_TOKENED = "/t/"


class Reason(StrEnum):
    """Why a request is refused, as the client is told."""

    TOKEN = "no valid token"
    EXPIRED = "the token has expired"
    TERRITORY = "not available here"
    LICENCE = "not available now"
    PLAN = "not in the plan"
    SCREENS = "too many screens"


class Denied(Exception):
    """A request that its token does not cover.

    Args:
        reason: Why.
        retry_s: When it may be covered; None for never.
    """

    def __init__(self, reason: Reason, retry_s: float | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_s = retry_s


def split_token(path: str) -> tuple[str | None, str]:
    """Separate the token from a path; None where there is none."""
    if path.startswith(_TOKENED):
        token, slash, rest = path[len(_TOKENED) :].partition("/")
        if token and slash:
            return token, f"/{rest}"
    return None, path


def without_token(path: str) -> str:
    """A path as it may be logged."""
    return split_token(path)[1]


class GrantChecker:
    """Checks requests against their tokens.

    The methods are called in the order in which they are listed, so that nothing is looked up for strangers.

    Args:
        keys: What tokens and edges' statements are signed with.
        leases: Who is watching.
        clock: Unix time in seconds.
    """

    def __init__(self, keys: Keyring, leases: Leases, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._leases = leases
        self._clock = clock
        self._verified: SegmentedLRU[str, Grant] = SegmentedLRU(VERIFIED)

    @property
    def keys(self) -> Keyring:
        """What tokens are signed with; may be replaced at any time."""
        return self._keys

    @keys.setter
    def keys(self, keys: Keyring) -> None:
        self._keys = keys
        self._verified = SegmentedLRU(VERIFIED)

    def territory(self, headers: Headers) -> str | None:
        """Where a request comes from, if an edge vouches for it."""
        statements = headers.getall(EDGE, None)
        if statements is None or len(statements) != 1:
            return None
        return vouched(statements[0], self.keys, self._clock())

    def grant(self, token: str | None, title: str | None, territory: str | None) -> Grant:
        """Check a token against title, clock, territory and licence.

        Args:
            token: The path's.
            title: What is asked for.
            territory: As `territory` found it.

        Raises:
            Denied: The request is not covered.
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
        """What a token grants; a token that was verified before is only looked up."""
        grant = self._verified.get(token)
        if grant is None and (grant := granted(token, self._keys)) is not None:
            self._verified.put(token, grant)
        return grant

    def check_plan(self, grant: Grant, heights_px: Iterable[int]) -> None:
        """Check what is wanted against the plan's highest resolution.

        Args:
            grant: The token's.
            heights_px: Of the pictures that are wanted, of which one within the plan is enough; 0 for sound and text.

        Raises:
            Denied: All of them are above the plan.
        """
        limit = grant.max_height_px
        if limit is None:
            return
        heights = [height for height in heights_px if height]
        if heights and min(heights) > limit:
            raise Denied(Reason.PLAN)

    def has_screen(self, grant: Grant) -> bool:
        """Whether the session's lease was taken or renewed a moment ago, so that it need not be now."""
        return self._leases.is_settled(grant.account, grant.session)

    async def take_screen(self, grant: Grant, *, segment_s: float) -> None:
        """Take or renew the session's lease on one of the account's screens.

        Args:
            grant: The token's.
            segment_s: Length of a segment.

        Raises:
            Denied: All screens are taken.
        """
        wait_s = await self._leases.take(grant.account, grant.session, screens=grant.screens, segment_s=segment_s)
        if wait_s:
            raise Denied(Reason.SCREENS, wait_s)
