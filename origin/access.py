"""The origin's access check: a request's token against what the library knows of its title."""

import re

from headend.core.access.grants import GrantChecker
from headend.core.access.tokens import Grant
from origin.library import Library


class Access:
    """Decides on requests for titles.

    Args:
        checker: The checks.
        library: What releases hold.

    Attributes:
        checker: The same.
    """

    def __init__(self, checker: GrantChecker, library: Library) -> None:
        self.checker = checker
        self._library = library

    def recalled(
        self, token: str | None, territory: str | None, path: re.Match[str], *, is_segment: bool
    ) -> Grant | None:
        """Decide as `check` does, without waiting; None where something has to be read or written first."""
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
        """Decide on a request. The store is not asked before the token is found good, so strangers learn nothing.

        Args:
            token: The path's.
            territory: Where the request comes from, as an edge vouches for it.
            path: The rest of the path, with groups ``title``, ``release`` and ``track`` as far as it has them.
            is_segment: Whether it is a segment, which takes a screen.
            client: The client's name or address.

        Returns:
            What the token grants.

        Raises:
            Denied: The request is not covered.
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
