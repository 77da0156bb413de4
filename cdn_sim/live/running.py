"""Runs a server: as a process until a signal, or in a thread of another process."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from headend.core.http.listening import listen, url_of

Serve = Callable[[socket.socket, asyncio.Event, Callable[[], object]], Awaitable[None]]
"""Serves on a listening socket until the event is set; calls the function once connections are accepted."""


def until_signalled(serve: Serve, host: str, port: int, on_ready: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT, then finish pending requests.

    Args:
        serve: Runs the server.
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.
        on_ready: Called with the base URL, without a trailing slash, once connections are accepted.

    Raises:
        ConfigError: It is not possible to listen on the address.
    """
    [listener] = listen(host, port, 1)
    with contextlib.closing(listener):
        url = url_of(host, listener)

        async def main() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await serve(listener, stop, lambda: on_ready(url))

        asyncio.run(main())


@contextmanager
def in_thread(serve: Serve, name: str, host: str, port: int = 0) -> Iterator[str]:
    """Serve from a thread of this process until the ``with`` block ends; yields the base URL, without a trailing slash.

    Args:
        serve: Runs the server.
        name: Name of the thread.
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.

    Raises:
        ConfigError: It is not possible to listen on the address.
    """
    [listener] = listen(host, port, 1)
    url = url_of(host, listener)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await serve(listener, stop, lambda: ready.set_result((loop, stop)))

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    with contextlib.closing(listener):
        loop, stop = ready.result()
        try:
            yield url
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
