"""Content ids: digests of everything that decides an output's bytes."""

import hashlib
import json
from collections.abc import Iterable

from headend.core.media import EncodePlan
from headend.core.timing import Chunk

DIGEST_CHARACTERS = 20
"""80 bits: no two tasks of a title collide."""
TRACK_CHARACTERS = 10
"""40 bits: no two tracks of a title and a rendition's id collide."""


def task_id(plan: EncodePlan, chunk: Chunk, renditions: Iterable[str]) -> str:
    """Name the task that makes a chunk of some renditions, thumbnails and poster included."""
    made = set(renditions)
    tracks = (track for name, track in plan.tracks.items() if plan.encoded_for(name) in made)
    return digest({"chunk": chunk.number, "tracks": sorted(tracks)})


def track_id(rendition: str, deciding: object) -> str:
    """Name the track that a rendition is in the store.

    Args:
        rendition: The rendition's id, for people.
        deciding: All that decides the track's bytes, as plain data.
    """
    return f"{rendition}-{digest(deciding)[:TRACK_CHARACTERS]}"


def behind_input(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a command that does not depend on where its input lies."""
    return argv[argv.index("-i") + 2 :] if "-i" in argv else argv


def digest(content: object) -> str:
    """The digest of plain data."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]
