"""Shaped links on loopback: TCP proxies with limited rate and added delay, which need no privileges.

All connections of a link share a token bucket, and data is delayed by half a round trip in each direction. When a proxy
stops reading, TCP's flow control slows the sender down.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BURST_S = 0.02
"""Maximum burst of an idle link, in seconds of its rate."""
PIECE_BYTES = 16 << 10
"""Maximum bytes that a proxy reads at once."""
MAX_PIECES = 64
"""Maximum pieces in flight per connection and direction."""
BIN_S = 300
"""Length of a traffic bin, as in transit billing."""


class Link:
    """A link that any number of connections share; belongs to one event loop.

    Args:
        bps: Rate from servers to clients; requests are small and not limited.
        rtt_ms: Round trip.

    Attributes:
        bps: The rate; may be changed at any time.
        delay_s: One-way delay; may be changed at any time.
        is_cut: Whether the link is down.
        carried: Bytes by bin since the link was created.
    """

    def __init__(self, bps: float, rtt_ms: float = 0.0) -> None:
        self.bps = bps
        self.delay_s = rtt_ms / 2000
        self.is_cut = False
        self.carried: Counter[int] = Counter()
        self._loop = asyncio.get_running_loop()
        self._began_s = self._free_s = self._loop.time()
        self._open: set[asyncio.Task[None]] = set()

    async def carry(self, size_bytes: int) -> None:
        """Count ``size_bytes`` as carried, and wait as long as the link takes to carry them."""
        now_s = self._loop.time()
        self.carried[int((now_s - self._began_s) // BIN_S)] += size_bytes
        self._free_s = max(self._free_s, now_s - BURST_S) + size_bytes * 8 / self.bps
        if self._free_s > now_s:
            await asyncio.sleep(self._free_s - now_s)

    def cut(self) -> None:
        """Abort all connections and refuse new ones."""
        self.is_cut = True
        for task in tuple(self._open):
            task.cancel()

    def restore(self) -> None:
        """Accept connections again."""
        self.is_cut = False

    @asynccontextmanager
    async def proxy(self, host: str, port: int, target: tuple[str, int]) -> AsyncIterator[str]:
        """Run a proxy whose connections use this link; yields its base URL.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 for any free port.
            target: Host and port of the server.
        """
        server = await asyncio.start_server(lambda reader, writer: self._serve(reader, writer, target), host, port)
        try:
            yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self.is_cut:
                return
            server_reader, server_writer = await asyncio.open_connection(*target)
            try:
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(self._forward(reader, server_writer, is_downstream=False))
                    directions.create_task(self._forward(server_reader, writer, is_downstream=True))
            finally:
                server_writer.transport.abort()
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # one side disconnected or the link was cut: close the other side, too
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_downstream: bool
    ) -> None:
        """Forward one direction until the sender closes it; the rate limits only data from servers to clients."""
        in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_PIECES)

        async def send() -> None:
            while True:
                due_s, piece = await in_flight.get()
                if (wait_s := due_s - self._loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                if not piece:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(piece)
                await writer.drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            while True:
                piece = await reader.read(PIECE_BYTES)
                if is_downstream and piece:
                    await self.carry(len(piece))
                await in_flight.put((self._loop.time() + self.delay_s, piece))
                if not piece:  # the end of the stream
                    break
