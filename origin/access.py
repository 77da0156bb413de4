"""The origin's access check: compares a request's token with the release and track it asks for."""

import re

from headend.core.access.grants import GrantChecker
from headend.core.access.tokens import Grant
from origin.library import Library


class Access:
    """Authorizes requests for titles.

    Args:
        checker: Checks tokens, plans and screens.
        library: The store's releases and tracks.

    Attributes:
        checker: Checks tokens, plans and screens.
    """

    def __init__(self, checker: GrantChecker, library: Library) -> None:
        self.checker = checker
        self._library = library

    def check_cached(
        self, token: str | None, territory: str | None, match: re.Match[str], *, is_segment: bool
    ) -> Grant | None:
        """Decide like `check`, but at once; None if the decision needs a read of the store or a new lease."""
        groups = match.groupdict()
        grant = self.checker.grant(token, groups.get("title"), territory)
        if track := groups.get("track"):
            facts = self._library.cached_token_facts(grant.title, track)
            if facts is None:
                return None
            self.checker.check_plan(grant, (facts.height_px,))
            return None if is_segment and not self.checker.has_screen(grant) else grant
        release_id = groups.get("release")
        release = self._library.cached_release(grant.title, release_id) if release_id else None
        if release is None:
            return None
        self.checker.check_plan(grant, release.heights_px)
        return grant

    async def check(
        self, token: str | None, territory: str | None, match: re.Match[str], *, is_segment: bool, client: str
    ) -> Grant:
        """Authorize a request.

        The token is checked before the store is read, so requests without a valid token reveal nothing.

        Args:
            token: Token from the path.
            territory: Territory of the client, as a trusted edge reports it.
            match: Match of the path after the token; has the groups ``title``, ``release`` and ``track`` if they apply.
            is_segment: Whether the request is for a segment, so that it takes or renews one of the account's screens.
            client: The client's name or address.

        Returns:
            The token's grant.

        Raises:
            Denied: The token does not cover the request.
            StorageError: The release or track can't be read.
        """
        groups = match.groupdict()
        grant = self.checker.grant(token, groups.get("title"), territory)
        if track := groups.get("track"):
            facts = await self._library.token_facts(groups["title"], track, client)
            self.checker.check_plan(grant, (facts.height_px,))
            if is_segment:
                await self.checker.take_screen(grant, segment_s=facts.segment_s)
            return grant
        release_id = groups.get("release") or await self._library.current(groups["title"], client)
        release = await self._library.release(groups["title"], release_id, client)
        self.checker.check_plan(grant, release.heights_px)
        return grant
