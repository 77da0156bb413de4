import asyncio

import pytest

from headend.core.caching.single_flight import SingleFlight, TookTooLong, TooMany


def test_many_callers_share_one_read() -> None:
    reads = 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return 7

    async def main() -> None:
        flights: SingleFlight[str, int] = SingleFlight(10)
        assert await asyncio.gather(*(flights.do("a", read, wait_s=10) for _ in range(50))) == [7] * 50
        assert len(flights) == 0

    asyncio.run(main())
    assert reads == 1


def test_a_read_outlives_the_caller_that_started_it() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def read() -> str:
            await gate.wait()
            return "done"

        flights: SingleFlight[str, str] = SingleFlight(10)
        first = asyncio.create_task(flights.do("a", read, wait_s=10))
        await asyncio.sleep(0)
        second = asyncio.create_task(flights.do("a", read, wait_s=10))
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        assert await second == "done"

    asyncio.run(main())


def test_reads_are_limited_in_total_and_per_client() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def read() -> None:
            await gate.wait()

        flights: SingleFlight[str, None] = SingleFlight(3, limit_per_client=2)
        waiting = [asyncio.create_task(flights.do(key, read, wait_s=10, client="a")) for key in "xy"]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await flights.do("z", read, wait_s=10, client="a")
        waiting.append(asyncio.create_task(flights.do("x", read, wait_s=10, client="a")))  # shares a read
        waiting.append(asyncio.create_task(flights.do("z", read, wait_s=10, client="b")))
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await flights.do("w", read, wait_s=10, client="c")
        gate.set()
        await asyncio.gather(*waiting)
        await asyncio.sleep(0)
        await flights.do("w", read, wait_s=10, client="a")

    asyncio.run(main())


def test_the_error_of_a_read_reaches_all_callers() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise TimeoutError("its own")

    async def main() -> None:
        flights: SingleFlight[str, None] = SingleFlight(3)
        found = await asyncio.gather(*(flights.do("a", fail, wait_s=10) for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in found] == ["its own"] * 3

    asyncio.run(main())


def test_a_caller_stops_waiting_at_its_deadline() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def read() -> int:
            await gate.wait()
            return 1

        flights: SingleFlight[str, int] = SingleFlight(3)
        with pytest.raises(TookTooLong):
            await flights.do("a", read, wait_s=0.01)
        gate.set()
        assert await flights.do("a", read, wait_s=10) == 1

    asyncio.run(main())
