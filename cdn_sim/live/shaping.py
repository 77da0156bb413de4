"""Shaped links on loopback: proxies that carry so many bytes a second and take so long to pass them on.

In user space, without any rights: a token bucket for all connections of a link together, and half a round trip of delay
each way. TCP does the rest, since a proxy that does not read slows its sender down.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BURST_S = 0.02
"""How much of its rate an idle link lets pass at once."""
PIECE_BYTES = 16 << 10
QUEUED = 64
"""Pieces that are on their way over a connection, each direction."""
BIN_S = 300
"""Length of the bins in which bytes are counted, as transit is billed."""


class Link:
    """What all connections over one link share; belongs to one event loop.

    Args:
        bps: Rate from servers to clients; requests are too small to matter.
        rtt_ms: Round trip.

    Attributes:
        bps: As given; may be changed at any time.
        delay_s: One way; may be changed.
        is_cut: Whether nothing passes.
        carried: Bytes by bin since the link was made.
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
        """Wait until so many bytes have passed."""
        now_s = self._loop.time()
        self.carried[int((now_s - self._began_s) // BIN_S)] += size_bytes
        self._free_s = max(self._free_s, now_s - BURST_S) + size_bytes * 8 / self.bps
        if self._free_s > now_s:
            await asyncio.sleep(self._free_s - now_s)

    def cut(self) -> None:
        """Break all connections, and let none be made."""
        self.is_cut = True
        for task in tuple(self._open):
            task.cancel()

    def mend(self) -> None:
        """Let connections be made again."""
        self.is_cut = False

    @asynccontextmanager
    async def proxy(self, host: str, port: int, target: tuple[str, int]) -> AsyncIterator[str]:
        """Listen, and pass every connection on over this link; yields the proxy's base URL.

        Args:
            host: To listen on.
            port: To listen on; 0 for a free one.
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
            there_reader, there_writer = await asyncio.open_connection(*target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, there_writer, is_down=False))
                    both.create_task(self._pass(there_reader, writer, is_down=True))
            finally:
                there_writer.transport.abort()
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # one side is gone, or the link was cut: the other side finds its connection closed
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_down: bool) -> None:
        """Pass one direction on, until its sender ends it."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)

        async def send() -> None:
            while True:
                due_s, piece = await under_way.get()
                if (wait_s := due_s - self._loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                if not piece:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(piece)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(send())
            piece = b"first"
            while piece:
                piece = await reader.read(PIECE_BYTES)
                if is_down and piece:
                    await self.carry(len(piece))
                await under_way.put((self._loop.time() + self.delay_s, piece))
