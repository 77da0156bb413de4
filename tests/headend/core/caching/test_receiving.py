import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator

import pytest

from headend.core.caching.receiving import Mismatch, receive
from headend.core.http.blobs import Blob, Incomplete

BODY = bytes(range(256)) * 40


async def pieces(*parts: bytes) -> AsyncGenerator[bytes | memoryview, None]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


def test_a_body_is_forwarded_before_it_is_complete_except_its_last_byte() -> None:
    seen: list[int] = []

    async def main() -> Blob:
        return await receive(
            pieces(BODY[:100], BODY[100:]),
            size_bytes=len(BODY),
            sha256=hashlib.sha256(BODY).digest(),
            on_data=lambda blob: seen.append(blob.ready_bytes),
        )

    blob = asyncio.run(main())
    assert os.pread(blob.fd, len(BODY) + 1, 0) == BODY
    assert seen == [100, len(BODY)]


@pytest.mark.parametrize("parts", [(BODY[:-1],), (BODY, b"x"), (BODY[:-1], b"x"), ()])
def test_a_wrong_body_is_never_sent_completely(parts: tuple[bytes, ...]) -> None:
    blobs: list[Blob] = []

    async def main() -> None:
        with pytest.raises(Mismatch):
            await receive(
                pieces(*parts), size_bytes=len(BODY), sha256=hashlib.sha256(BODY).digest(), on_data=blobs.append
            )
        for blob in blobs:
            assert not blob.is_complete
            with pytest.raises(Incomplete):
                await blob.wait_beyond(len(BODY) - 1)

    asyncio.run(main())
