"""Bodies that are sent to many readers while they arrive from an upstream."""

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from headend.core.http.blobs import Blob, new_blob

Pieces = AsyncGenerator[bytes | memoryview, None]


class Mismatch(Exception):
    """The upstream's body has the wrong size or digest."""


async def receive(
    pieces: Pieces,
    *,
    size_bytes: int,
    sha256: bytes | None,
    on_data: Callable[[Blob], None] = lambda _: None,
    place: Blob | None = None,
) -> Blob:
    """Receive a body and verify it.

    Args:
        pieces: The body, from start to end.
        size_bytes: Its expected size.
        sha256: Its expected digest; None if only the size is known.
        on_data: Called with the blob whenever there is more to send, also before it is complete. Readers get all but
            the last byte before the body is verified, and are cut off if it turns out to be wrong.
        place: An empty blob to receive it in, such as a file's; memory by default.

    Returns:
        The complete blob.

    Raises:
        Mismatch: Size or digest differ.
        OSError: No space is left, or too many files are open.
    """
    blob = new_blob(size_bytes) if place is None else place
    digest = hashlib.sha256()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                if len(piece) > blob.missing_bytes:
                    raise Mismatch
                digest.update(piece)
                blob.write(piece)
                if blob.missing_bytes:
                    on_data(blob)
        if blob.missing_bytes or (sha256 is not None and digest.digest() != sha256):
            raise Mismatch
    except BaseException:
        blob.fail()
        raise
    blob.finish()
    on_data(blob)
    return blob
