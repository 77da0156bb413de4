"""Content ids: digests of everything that decides an output's bytes."""

import hashlib
import json
from collections.abc import Iterable

from headend.core.media import EncodePlan
from headend.core.timing import Chunk

DIGEST_CHARACTERS = 20
"""80 bits: enough that tasks of a title don't collide."""
TRACK_CHARACTERS = 10
"""40 bits: enough that tracks of the same title and rendition id don't collide."""


def task_id(plan: EncodePlan, chunk: Chunk, renditions: Iterable[str]) -> str:
    """The id of the task that encodes a chunk of some renditions, thumbnails and poster included."""
    made = set(renditions)
    tracks = (track for name, track in plan.tracks.items() if plan.encoded_for(name) in made)
    return digest({"chunk": chunk.number, "tracks": sorted(tracks)})


def track_id(rendition: str, deciding: object) -> str:
    """The id of a rendition's track in the store.

    Args:
        rendition: The rendition's id, for readability.
        deciding: Everything that determines the track's bytes, as plain data.
    """
    return f"{rendition}-{digest(deciding)[:TRACK_CHARACTERS]}"


def behind_input(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a command after its input, which does not depend on the input's location."""
    return argv[argv.index("-i") + 2 :] if "-i" in argv else argv


def digest(content: object) -> str:
    """The digest of plain data."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]
