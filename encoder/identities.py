"""Ids of tasks and tracks: digests of everything that determines the bytes of the output."""

import hashlib
import json
from collections.abc import Iterable

from headend.core.media import EncodePlan
from headend.core.timing import Chunk

DIGEST_CHARACTERS = 20
"""Length of a digest: its 80 bits are enough that tasks of a title don't collide."""
TRACK_CHARACTERS = 10
"""Length of a track's digest: its 40 bits are enough that tracks of the same title and rendition don't collide."""


def task_id(plan: EncodePlan, chunk: Chunk, renditions: Iterable[str]) -> str:
    """The id of the task that encodes a chunk into some renditions; thumbnails and the poster count as renditions."""
    encoded = set(renditions)
    tracks = (track for name, track in plan.tracks.items() if plan.encoded_for(name) in encoded)
    return digest({"chunk": chunk.number, "tracks": sorted(tracks)})


def track_id(rendition: str, inputs: object) -> str:
    """The id of a rendition's track in the store.

    Args:
        rendition: The rendition's id, for readability.
        inputs: Everything that determines the track's bytes, as plain data.
    """
    return f"{rendition}-{digest(inputs)[:TRACK_CHARACTERS]}"


def after_input(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a command after its input, which does not depend on the input's location."""
    return argv[argv.index("-i") + 2 :] if "-i" in argv else argv


def digest(content: object) -> str:
    """The digest of plain data."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]
