"""Running the origin: as a program until it is told to stop, or beside something else for a while."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import http_parser, web

from headend.errors import ConfigError
from headend.settings import StoreSettings
from headend.storage import Store, open_store
from origin.access_log import FLUSH_S, AccessLog
from origin.app import Origin
from origin.connections import BACKLOG, Server
from origin.library import CACHE_BYTES
from origin.tokens import Keyring

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_CLIENT = 2048
OTHER_FILES = 128
"""Open files beside connections: the store's, the leases', the interpreter's."""
SENDING_BYTES = 1 << 30
FINISH_S = 20.0
"""How long requests under way may take once the origin stops."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How an origin runs.

    Attributes:
        cache_bytes: Memory for files.
        sending_bytes: Memory for files under way to clients; beyond, these get 503.
        max_connections: Beyond it, clients get 503; fewer if this process may not open as many files.
        max_connections_per_client: The same for one address, which may be that of a terminator in front.
        linger_s: How long the origin goes on when told to stop, saying that it is not ready, for a load balancer in
            front to see it.
        access_log: Whether each request is written to standard output, as a line of JSON.
        metrics_port: Where figures are shown to all who reach that port; otherwise only this machine sees them.
        keys: What tokens are signed with; None serves everything to everyone.
        state_dir: Where leases are kept, for all processes that serve the same accounts; None for this one alone.
    """

    cache_bytes: int = CACHE_BYTES
    sending_bytes: int = SENDING_BYTES
    max_connections: int = MAX_CONNECTIONS
    linger_s: float = 0.0
    max_connections_per_client: int = MAX_CONNECTIONS_PER_CLIENT
    access_log: bool = False
    metrics_port: int | None = None
    keys: Keyring | None = None
    state_dir: Path | None = None


def serve(
    store: StoreSettings | Store,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] | None = None,
    serving: Serving = Serving(),
) -> None:
    """Serve a store until SIGTERM or SIGINT; requests under way are finished first.

    Args:
        store: Where releases are.
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        on_ready: Told the base URL, without a slash at its end, once connections are taken.
        serving: How.

    Raises:
        ConfigError: The store's address is no address, the port or host can't be listened on, or leases can't be kept.
    """
    listener = _listen(host, port)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            stop.set()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)  # who asks twice gets it at once

        for number in _SIGNALS:
            loop.add_signal_handler(number, told)
        await _run(_opened(store), listener, serving, stop, lambda: on_ready and on_ready(_url(host, listener)))

    with contextlib.closing(listener):
        asyncio.run(main())


@contextmanager
def running(
    store: StoreSettings | Store, *, host: str = DEFAULT_HOST, port: int = 0, serving: Serving = Serving()
) -> Iterator[str]:
    """Serve a store from a thread of this process until the block is left.

    Args:
        store: Where releases are.
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        serving: How.

    Yields:
        The base URL, without a slash at its end.

    Raises:
        ConfigError: As in `serve`.
    """
    opened = _opened(store)
    listener = _listen(host, port)
    ready: Future[None] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def main() -> None:
        with contextlib.closing(listener), asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(_run(opened, listener, serving, stop, lambda: ready.set_result(None)))
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    thread = threading.Thread(target=main, name="origin")
    thread.start()
    ready.result()
    url = _url(host, listener)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


_MEMORY = Path("/dev/shm")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ADVICE = {
    errno.EADDRINUSE: "port {port} is in use: choose another with --port",
    errno.EACCES: "port {port} needs more rights than this user has: choose one above 1023 with --port",
    errno.EADDRNOTAVAIL: "{host} is not an address of this machine: choose another with --host",
}


async def _run(
    store: Store, listener: socket.socket, serving: Serving, stop: asyncio.Event, on_ready: Callable[[], object]
) -> None:
    access_log = AccessLog(sys.stdout) if serving.access_log else None
    with contextlib.ExitStack() as held:
        origin = Origin(
            store,
            cache_bytes=serving.cache_bytes,
            sending_bytes=serving.sending_bytes,
            access_log=access_log,
            keys=serving.keys,
            state_dir=held.enter_context(_state_dir(serving)),
        )
        held.callback(origin.close)
        server = Server(
            origin,
            origin.metrics,
            max_connections=_affordable(serving.max_connections),
            max_connections_per_client=serving.max_connections_per_client,
        )
        listeners = [listener]
        if serving.metrics_port is not None:
            inner = held.enter_context(contextlib.closing(_listen(listener.getsockname()[0], serving.metrics_port)))
            listeners.append(inner)
            origin.handlers.metrics_port = inner.getsockname()[1]
        runner = web.ServerRunner(server, shutdown_timeout=FINISH_S)
        await runner.setup()
        writer = asyncio.create_task(_write(access_log)) if access_log is not None else None
        try:
            for each in listeners:
                await web.SockSite(runner, each, backlog=BACKLOG).start()
            on_ready()
            await stop.wait()
            origin.handlers.draining = True
            await asyncio.sleep(serving.linger_s)
        finally:
            await runner.cleanup()
            if writer is not None and access_log is not None:
                writer.cancel()
                access_log.write(access_log.take())


@contextmanager
def _state_dir(serving: Serving) -> Iterator[Path | None]:
    """Where leases are kept: in memory, and gone with this process, unless a folder is given that others share."""
    if serving.keys is None or serving.state_dir is not None:
        yield serving.state_dir
        return
    with TemporaryDirectory(prefix="headend-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def _affordable(connections: int) -> int:
    """So many connections as are wanted, or as this process may open files for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(connections, soft - OTHER_FILES))
    return connections


async def _write(access_log: AccessLog) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        await asyncio.to_thread(access_log.write, access_log.take())


def _opened(store: StoreSettings | Store) -> Store:
    return open_store(store) if isinstance(store, StoreSettings) else store


def _listen(host: str, port: int) -> socket.socket:
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # Most known ways to smuggle requests past aiohttp are ways past this parser.
        raise ConfigError("aiohttp runs without its C parser: unset AIOHTTP_NO_EXTENSIONS, or install it from a wheel")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise ConfigError(f"{host} is not known: choose an address of this machine with --host", host=host) from error
    except (OSError, OverflowError) as error:
        advice = _ADVICE.get(getattr(error, "errno", None) or 0, f"can't listen on {{host}}, port {{port}}: {error}")
        raise ConfigError(advice.format(host=host, port=port), host=host, port=port) from error


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
