"""Who may see what: each request's token against the title, the clock, the territory, the plan and its screens.

The token stands in the path, ``/t/{token}/{title}/…``, so that the relative addresses of manifests carry it along and
the manifests stay as they were published. Where a request comes from is what an edge vouches for, never what a client
says. A refusal is a constant that names its reason, and never anything of the request.
"""

import re
import time
from collections.abc import Callable
from enum import StrEnum

from origin.freshness import Headers
from origin.index import ReleaseIndex
from origin.leases import Leases
from origin.library import Library
from origin.tokens import Grant, Keyring, granted, vouched

EDGE = "Headend-Edge"
"""The header in which an edge says where a request comes from; see `origin.tokens.vouch`."""
SKEW_S = 60
"""How long after its end a token is still good, since clocks differ. A licence's window is exact."""

_TOKENED = re.compile(r"/t/([^/]+)(/.*)")


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
    """Part the token from a path; None where there is none."""
    found = _TOKENED.fullmatch(path)
    return (found[1], found[2]) if found else (None, path)


class Access:
    """Decides on requests for titles.

    Args:
        keys: What tokens and edges' words are signed with.
        leases: Who is watching.
        library: What releases hold.
        clock: Unix time in seconds.
    """

    def __init__(
        self, keys: Keyring, leases: Leases, library: Library, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._leases = leases
        self._library = library
        self._clock = clock

    def territory(self, headers: Headers) -> str | None:
        """Where a request comes from, if an edge vouches for it."""
        words = headers.getall(EDGE, ())
        return vouched(words[0], self._keys, self._clock()) if len(words) == 1 else None

    async def check(self, token: str | None, territory: str | None, path: re.Match[str], *, is_segment: bool) -> Grant:
        """Decide on a request.

        Nothing is looked up in the store before the token is found good, so that strangers learn nothing of it.

        Args:
            token: The path's.
            territory: As `territory` found it.
            path: The rest of the path, with groups ``title``, ``release`` and ``rendition`` as far as it has them.
            is_segment: Whether it is one, which takes a screen.

        Returns:
            What the token grants.

        Raises:
            Denied: The request is not covered.
            StorageError: The release can't be read.
        """
        named = path.groupdict()
        grant = self._grant(token, named.get("title"), territory)
        release = named.get("release") or await self._library.current(named["title"])
        index = await self._library.release(named["title"], release)
        self._check_plan(grant, index, named.get("rendition"))
        if is_segment:
            wait_s = await self._leases.take(
                grant.account, grant.session, screens=grant.screens, segment_s=index.segment_s
            )
            if wait_s:
                raise Denied(Reason.SCREENS, wait_s)
        return grant

    def _grant(self, token: str | None, title: str | None, territory: str | None) -> Grant:
        grant = granted(token, self._keys) if token is not None else None
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

    def _check_plan(self, grant: Grant, index: ReleaseIndex, rendition: str | None) -> None:
        limit = grant.max_height_px
        if limit is None:
            return
        wanted = [index.renditions[rendition]] if rendition in index.renditions else index.renditions.values()
        heights = [known.height_px for known in wanted if known.height_px]
        if heights and min(heights) > limit:
            raise Denied(Reason.PLAN)
