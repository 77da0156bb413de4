import asyncio
import os
from pathlib import Path

from headend.core.caching.spilling import Spiller
from headend.core.http.blobs import InFlightBudget, in_memory

BODY = bytes(range(256)) * 8192


def test_a_body_that_a_slow_reader_holds_moves_to_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        budget, blob = InFlightBudget(1 << 30), in_memory(BODY)
        with budget.holding(blob):
            assert budget.size_bytes == len(BODY)
            Spiller(tmp_path, wait_s=0.01).evicted(blob)
            async with asyncio.timeout(10):
                while blob.memory_bytes:
                    await asyncio.sleep(0.01)
            assert budget.size_bytes == 0
            assert os.pread(blob.fd, len(BODY) + 1, 0) == BODY
        assert budget.size_bytes == 0
        assert not list(tmp_path.iterdir())

    asyncio.run(main())


def test_a_body_without_readers_is_not_moved(tmp_path: Path) -> None:
    async def main() -> None:
        blob = in_memory(BODY)
        Spiller(tmp_path, wait_s=0.0).evicted(blob)
        await asyncio.sleep(0.05)
        assert blob.memory_bytes == len(BODY)

    asyncio.run(main())
