"""Running the origin: as a program until it is told to stop, or beside something else for a while."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from aiohttp import http_parser

from headend.errors import ConfigError
from headend.settings import StoreSettings
from headend.storage import Store, open_store
from origin import figures, workers
from origin.access_log import FLUSH_S, AccessLog
from origin.app import Origin
from origin.connections import BACKLOG, Server
from origin.disk_cache import BYTES as DISK_CACHE_BYTES
from origin.figures import ALONE, Post
from origin.library import BLOBS, CACHE_BYTES
from origin.readiness import Loop
from origin.tokens import Keyring

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_CLIENT = 2048
OTHER_FILES = 128
"""Open files beside connections: the store's, the leases', the interpreter's."""
LEAST_BLOBS = 32
"""Files of media that are held open even where few may be; among the other ones."""
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
        state_dir: Where leases are kept, for all origins that serve the same accounts; None for this one alone.
        disk_cache: Where media from a distant store is kept as well; None for nowhere.
        disk_cache_bytes: Room for it.
        workers: Processes on the one port, which share all of the above.
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
    disk_cache: Path | None = None
    disk_cache_bytes: int = DISK_CACHE_BYTES
    workers: int = 1


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
    with _listening(host, port, serving) as places:
        url = _url(host, places[0][0])

        def ready() -> None:
            if on_ready is not None:
                on_ready(url)

        if serving.workers == 1:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(_until_told(_opened(store), places[0], serving, ready, _SIGNALS))
            return
        with _in_memory() as meeting:
            shared = replace(serving, state_dir=serving.state_dir or meeting)
            works = [
                partial(_work, store, listeners, shared, Post(place, serving.workers, meeting))
                for place, listeners in enumerate(places)
            ]
            # The sockets outlive a worker that dies, and with them the connections that wait to be taken.
            workers.supervise(works, on_ready=ready, on_stop=lambda: _close(places))


def _work(
    store: StoreSettings | Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    post: Post,
    ready: Callable[[], None],
    lifeline: int,
) -> None:
    """What each of several processes does."""
    with contextlib.ExitStack() as held:
        for listener in listeners:
            held.enter_context(contextlib.closing(listener))
        runner = held.enter_context(asyncio.Runner(loop_factory=Loop))
        runner.run(_until_told(_opened(store), listeners, serving, ready, (signal.SIGTERM,), post, lifeline))


async def _until_told(
    store: Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    on_ready: Callable[[], object],
    signals: Sequence[signal.Signals],
    post: Post = ALONE,
    lifeline: int | None = None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)  # who asks twice gets it at once
        if lifeline is not None:
            loop.remove_reader(lifeline)

    for number in signals:
        loop.add_signal_handler(number, told)
    if lifeline is not None:
        loop.add_reader(lifeline, told)
    await _run(store, listeners, serving, stop, on_ready, post)


@contextmanager
def running(
    store: StoreSettings | Store, *, host: str = DEFAULT_HOST, port: int = 0, serving: Serving = Serving()
) -> Iterator[str]:
    """Serve a store from a thread of this process until the block is left.

    Args:
        store: Where releases are.
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        serving: How; one worker, whatever it says.

    Yields:
        The base URL, without a slash at its end.

    Raises:
        ConfigError: As in `serve`.
    """
    opened = _opened(store)
    alone = replace(serving, workers=1)
    held = contextlib.ExitStack()
    listeners = held.enter_context(_listening(host, port, alone))[0]
    url = _url(host, listeners[0])
    ready: Future[None] = Future()
    loop = Loop()
    stop = asyncio.Event()

    def main() -> None:
        with held, asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(_run(opened, listeners, alone, stop, lambda: ready.set_result(None)))
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    thread = threading.Thread(target=main, name="origin")
    thread.start()
    ready.result()
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
    store: Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    stop: asyncio.Event,
    on_ready: Callable[[], object],
    post: Post = ALONE,
) -> None:
    """Serve until told to stop.

    Args:
        store: Where releases are.
        listeners: For everyone, then one for figures, if there is one.
        serving: How, for all processes together.
        stop: Set to have it end.
        on_ready: Called once connections are taken.
        post: Which of the processes this is.
    """
    access_log = AccessLog(sys.stdout) if serving.access_log else None
    async with contextlib.AsyncExitStack() as held:
        connections, blobs = _affordable(serving.max_connections)
        origin = Origin(
            store,
            cache_bytes=serving.cache_bytes // post.places,
            most_blobs=blobs,
            access_log=access_log,
            keys=serving.keys,
            state_dir=held.enter_context(_state_dir(serving)),
            disk=serving.disk_cache,
            disk_bytes=serving.disk_cache_bytes,
            post=post,
        )
        held.push_async_callback(origin.close)
        if post.places > 1:
            await held.enter_async_context(figures.told(post, origin.metrics))
        if len(listeners) > 1:
            origin.handlers.metrics_port = listeners[1].getsockname()[1]
        server = Server(
            origin,
            origin.metrics,
            cast(Loop, asyncio.get_running_loop()).readiness,
            sending_bytes=serving.sending_bytes // post.places,
            max_connections=-(-connections // post.places),
            max_connections_per_client=-(-serving.max_connections_per_client // post.places),
        )
        if access_log is not None:
            writer = asyncio.create_task(_write(access_log))
            held.callback(lambda: access_log.write(access_log.take()))
            held.callback(writer.cancel)
        gc.freeze()  # what is here now stays, and need not be looked at each time that garbage is looked for
        server.start(listeners)
        try:
            on_ready()
            await stop.wait()
            origin.handlers.draining = server.draining = True
            await asyncio.sleep(serving.linger_s)
        finally:
            await server.stop(FINISH_S)


@contextmanager
def _state_dir(serving: Serving) -> Iterator[Path | None]:
    """Where leases are kept: gone with this process, unless a folder is given that others share."""
    if serving.keys is None or serving.state_dir is not None:
        yield serving.state_dir
        return
    with _in_memory() as folder:
        yield folder


@contextmanager
def _in_memory() -> Iterator[Path]:
    """A folder that nobody else may enter, in memory where there is such a thing."""
    with TemporaryDirectory(prefix="headend-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def _affordable(connections: int) -> tuple[int, int]:
    """So many connections and open files as are wanted, or as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + BLOBS + OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else soft - OTHER_FILES
    affordable = max(1, min(connections, room))
    return affordable, max(LEAST_BLOBS, min(BLOBS, room - affordable))


async def _write(access_log: AccessLog) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        await asyncio.to_thread(access_log.write, access_log.take())


def _opened(store: StoreSettings | Store) -> Store:
    return open_store(store) if isinstance(store, StoreSettings) else store


@contextmanager
def _listening(host: str, port: int, serving: Serving) -> Iterator[list[list[socket.socket]]]:
    """For each process a socket for everyone, and one for figures if they have a port."""
    places = [[listener] for listener in _listen(host, port, serving.workers)]
    try:
        if serving.metrics_port is not None:
            address = places[0][0].getsockname()[0]
            inner = _listen(address, serving.metrics_port, serving.workers)
            places = [[*sockets, listener] for sockets, listener in zip(places, inner, strict=True)]
        yield places
    finally:
        _close(places)


def _close(places: list[list[socket.socket]]) -> None:
    for sockets in places:
        for each in sockets:
            each.close()


def _listen(host: str, port: int, places: int = 1) -> list[socket.socket]:
    """Listen, once for each process; the kernel shares connections out between the sockets of a port."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # Most known ways to smuggle requests past aiohttp are ways past this parser.
        raise ConfigError("aiohttp runs without its C parser: unset AIOHTTP_NO_EXTENSIONS, or install it from a wheel")
    try:
        family, *_, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        address = str(found[0])
        first = socket.create_server((address, port), family=family, backlog=BACKLOG)
        if places == 1:
            return [first]
        port = first.getsockname()[1]
        first.close()  # nobody else had it, not even somebody who shares
        return [
            socket.create_server((address, port), family=family, backlog=BACKLOG, reuse_port=True)
            for _ in range(places)
        ]
    except socket.gaierror as error:
        raise ConfigError(f"{host} is not known: choose an address of this machine with --host", host=host) from error
    except (OSError, OverflowError) as error:
        advice = _ADVICE.get(getattr(error, "errno", None) or 0, f"can't listen on {{host}}, port {{port}}: {error}")
        raise ConfigError(advice.format(host=host, port=port), host=host, port=port) from error


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
