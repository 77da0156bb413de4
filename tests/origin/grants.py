"""Keys, tokens and edges of tests."""

import time
from typing import Any

from headend.core.access.tokens import Grant, Use, issue, make_key, read_keys, sign_territory
from origin.serving import OriginSettings
from tests.origin.releases import TITLE

PLAYBACK, EDGE, STRANGE = make_key(Use.PLAYBACK), make_key(Use.EDGE), make_key(Use.PLAYBACK)
KEYS = read_keys(f"{PLAYBACK.line}\n{EDGE.line}", "keys")
STRANGE_KEYS = read_keys(STRANGE.line, "keys")
CLOSED = OriginSettings(keys=KEYS)


def token(*, keys: Any = KEYS, **changes: Any) -> str:
    """Return a token for the small release, valid for an hour by default."""
    facts = {"title": TITLE, "account": "a", "session": "s", "expires_s": int(time.time()) + 3600, **changes}
    return issue(Grant(**facts), keys)


def from_edge(territory: str = "DE", *, ago_s: int = 0) -> dict[str, str]:
    """Return the header of an edge."""
    return {"Headend-Edge": sign_territory(territory, int(time.time()) - ago_s, KEYS)}
