"""Small scenarios for tests."""

from typing import Any

import msgspec

from cdn_sim.model import Scenario


def scenario(**changes: Any) -> Scenario:
    """Return one provider with one edge, one rendition and one kind of viewer by default.

    Args:
        **changes: Values by dotted key with ``__`` for the dot: ``edge__disk="1G"``.
    """
    document: dict[str, Any] = {
        "name": "test",
        "catalogue": {"titles": 20, "minutes": [5, 5], "ladder": "one", "sound_kbps": 0},
        "popularity": {"noise": 0.0, "regional": 0.0},
        "viewers": {
            "sessions_per_day": 200,
            "lengths": [{"share": 1.0, "leaves": "at the end"}],
            "players": [{"share": 1.0, "rule": "fixed", "buffer_s": 30}],
            "access": [{"share": 1.0, "mbps": 50, "spread": 0, "rtt_ms": 10}],
        },
        "edge": {"disk": "1G", "gbps": 1000},
        "isps": [{"name": "north", "transit": {"gbps": 1000, "rtt_ms": 0}, "shield": {"disk": "1K"}}],
        "origin": {"link": {"gbps": 1000, "rtt_ms": 0}},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        place = document
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return msgspec.convert(document, Scenario)
