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
        checker: The checker in use.
    """

    def __init__(self, checker: GrantChecker, library: Library) -> None:
        self.checker = checker
        self._library = library

    def check_cached(
        self, token: str | None, territory: str | None, path: re.Match[str], *, is_segment: bool
    ) -> Grant | None:
        """Decide like `check`, but without waiting; None if the decision needs a read or a write first."""
        named = path.groupdict()
        grant = self.checker.grant(token, named.get("title"), territory)
        if track := named.get("track"):
            outline = self._library.known_outline(grant.title, track)
            if outline is None:
                return None
            self.checker.check_plan(grant, (outline.height_px,))
            return None if is_segment and not self.checker.has_screen(grant) else grant
        release = named.get("release")
        index = self._library.known_release(grant.title, release) if release else None
        if index is None:
            return None
        self.checker.check_plan(grant, index.heights_px)
        return grant

    async def check(
        self, token: str | None, territory: str | None, path: re.Match[str], *, is_segment: bool, client: str
    ) -> Grant:
        """Authorize a request.

        The token is checked before the store is read, so requests without a valid token reveal nothing.

        Args:
            token: Token from the path.
            territory: Territory of the client, as a trusted edge reports it.
            path: Match of the path after the token; has the groups ``title``, ``release`` and ``track`` if they apply.
            is_segment: Whether the request is for a segment, which counts as a screen in use.
            client: The client's name or address.

        Returns:
            The token's grant.

        Raises:
            Denied: The token does not cover the request.
            StorageError: The release can't be read.
        """
        named = path.groupdict()
        grant = self.checker.grant(token, named.get("title"), territory)
        if track := named.get("track"):
            outline = await self._library.outline(named["title"], track, client)
            self.checker.check_plan(grant, (outline.height_px,))
            if is_segment:
                await self.checker.take_screen(grant, segment_s=outline.segment_s)
            return grant
        release = named.get("release") or await self._library.current(named["title"], client)
        index = await self._library.release(named["title"], release, client)
        self.checker.check_plan(grant, index.heights_px)
        return grant
