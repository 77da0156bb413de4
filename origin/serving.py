"""Running the origin: as a program until it is told to stop, or beside something else for a while."""

import asyncio
import contextlib
import gc
import logging
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

from headend.core import layout
from headend.core.access.grants import without_token
from headend.core.access.tokens import Keyring
from headend.core.caching.disk_cache import BYTES as DISK_CACHE_BYTES
from headend.core.errors import ConfigError, StorageError
from headend.core.http import workers
from headend.core.http.access_log import FLUSH_S, AccessLog
from headend.core.http.listening import listen, url_of
from headend.core.http.server import HttpServer, Limits
from headend.core.metrics.workers import SINGLE, WorkerIndex, exposed
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from origin.app import Origin
from origin.library import BLOBS, CACHE_BYTES

log = logging.getLogger("headend.origin")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
OTHER_FILES = 128
"""Open files beside connections and media: the store's, the leases', the interpreter's."""
LIMITS = Limits()
WRONG_STORE_S = 1.0
"""How long the start waits for the store to say that its address or the credentials are wrong."""
LEAST_BLOBS = 32
"""Media files that are held open even where few may be; among the other ones."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How an origin runs.

    Attributes:
        cache_bytes: Memory for files.
        limits: What the server allows, for all workers together; fewer connections if this process may not open as
            many files.
        linger_s: How long the origin goes on after it is told to stop, while it reports that it is not ready, so that a
            load balancer in front notices.
        access_log: Whether each request is written to standard output, as a line of JSON.
        metrics_port: Where metrics are shown to everyone who reaches that port; otherwise only this machine sees them.
        keys: What tokens are signed with; None serves everything to everyone.
        reload_keys: Reads the keys again, on SIGHUP and whenever a worker starts; None if they never change.
        state_dir: Where leases are kept, for all origins that serve the same accounts; None for this one alone.
        disk_cache: Where media from a distant store is kept as well; None for nowhere.
        disk_cache_bytes: Room for it.
        licence_url: Where the keys of protected titles are, without a slash at its end; None for nowhere.
        steering: Address of the steering server, which manifests at entry points name; empty for none.
        workers: Processes on the port, which share all of the above.
    """

    cache_bytes: int = CACHE_BYTES
    limits: Limits = LIMITS
    linger_s: float = 0.0
    access_log: bool = False
    metrics_port: int | None = None
    keys: Keyring | None = None
    reload_keys: Callable[[], Keyring] | None = None
    state_dir: Path | None = None
    disk_cache: Path | None = None
    disk_cache_bytes: int = DISK_CACHE_BYTES
    licence_url: str | None = None
    steering: str = ""
    workers: int = 1

    def share(self) -> "Serving":
        """What one worker gets of it."""
        limits = replace(
            self.limits,
            connections=-(-self.limits.connections // self.workers),
            connections_per_client=-(-self.limits.connections_per_client // self.workers),
            in_flight_bytes=self.limits.in_flight_bytes // self.workers,
        )
        return replace(self, cache_bytes=self.cache_bytes // self.workers, limits=limits)


def serve(
    store: StoreSettings | Store,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] | None = None,
    serving: Serving = Serving(),
) -> None:
    """Serve a store until SIGTERM or SIGINT; requests under way are finished first. SIGHUP reads the keys again.

    Args:
        store: Where releases are.
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        on_ready: Called with the base URL, without a slash at its end, once connections are accepted.
        serving: How.

    Raises:
        ConfigError: The store's address is malformed, the port or host can't be listened on, or leases can't be kept.
        StorageError: There is no such bucket, or the credentials are wrong.
    """
    _refuse_wrong_store(_opened(store))
    with _listening(host, port, serving) as sockets:
        url = url_of(host, sockets[0][0])

        def ready() -> None:
            if on_ready is not None:
                on_ready(url)

        if serving.workers == 1:
            asyncio.run(_until_signalled(_opened(store), sockets[0], serving, ready, _STOP_SIGNALS))
            return
        with _private_folder() as folder:
            shared = replace(serving, state_dir=serving.state_dir or folder)
            works = [
                partial(_work, store, listeners, shared, WorkerIndex(number, serving.workers, folder))
                for number, listeners in enumerate(sockets)
            ]
            # The sockets outlive a worker that dies, and with them the connections that wait to be accepted.
            workers.supervise(works, on_ready=ready, on_stop=lambda: _close(sockets))


def _work(
    store: StoreSettings | Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    worker: WorkerIndex,
    ready: Callable[[], None],
    lifeline: int,
) -> None:
    """What each worker process does."""
    with contextlib.ExitStack() as held:
        for listener in listeners:
            held.enter_context(contextlib.closing(listener))
        asyncio.run(_until_signalled(_opened(store), listeners, serving, ready, (signal.SIGTERM,), worker, lifeline))


async def _until_signalled(
    store: Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    on_ready: Callable[[], object],
    signals: Sequence[signal.Signals],
    worker: WorkerIndex = SINGLE,
    lifeline: int | None = None,
) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)  # a second signal ends it at once
        if lifeline is not None:
            loop.remove_reader(lifeline)

    for number in signals:
        loop.add_signal_handler(number, stopping)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    if lifeline is not None:
        loop.add_reader(lifeline, stopping)
    await _run(store, listeners, serving, stop, on_ready, worker, reload)


@contextmanager
def running(
    store: StoreSettings | Store, *, host: str = DEFAULT_HOST, port: int = 0, serving: Serving = Serving()
) -> Iterator[str]:
    """Serve a store from a thread of this process until the block is left.

    Args:
        store: Where releases are.
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        serving: How; always with one worker.

    Yields:
        The base URL, without a slash at its end.

    Raises:
        ConfigError: As in `serve`.
    """
    opened = _opened(store)
    alone = replace(serving, workers=1)
    held = contextlib.ExitStack()
    listeners = held.enter_context(_listening(host, port, alone))[0]
    url = url_of(host, listeners[0])
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await _run(opened, listeners, alone, stop, lambda: ready.set_result(loop))

    def work() -> None:
        with held:
            try:
                asyncio.run(main())
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    thread = threading.Thread(target=work, name="origin")
    thread.start()
    loop = ready.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


_MEMORY = Path("/dev/shm")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def _run(
    store: Store,
    listeners: Sequence[socket.socket],
    serving: Serving,
    stop: asyncio.Event,
    on_ready: Callable[[], object],
    worker: WorkerIndex = SINGLE,
    reload: asyncio.Event | None = None,
) -> None:
    """Serve until told to stop.

    Args:
        store: Where releases are.
        listeners: For everyone, then one for metrics, if there is one.
        serving: How, for all workers together.
        stop: Set to have it end.
        on_ready: Called once connections are accepted.
        worker: Which of the worker processes this is.
        reload: Set to have keys read again; None for an origin that is not a program of its own.
    """
    access_log = AccessLog(sys.stdout, redact=without_token) if serving.access_log else None
    async with contextlib.AsyncExitStack() as held:
        connections, blobs = _affordable(serving.limits.connections)
        own = replace(serving, limits=replace(serving.limits, connections=connections)).share()
        keys = own.keys
        if own.reload_keys is not None:
            keys = await asyncio.to_thread(own.reload_keys)
        origin = Origin(
            store,
            cache_bytes=own.cache_bytes,
            most_blobs=blobs,
            steering=own.steering,
            access_log=access_log,
            keys=keys,
            state_dir=held.enter_context(_state_dir(own)),
            disk=own.disk_cache,
            disk_bytes=own.disk_cache_bytes,
            licence_url=own.licence_url,
            worker=worker,
        )
        held.push_async_callback(origin.close)
        if worker.count > 1:
            await held.enter_async_context(exposed(worker, origin.metrics.registry))
        if len(listeners) > 1:
            origin.handlers.metrics_port = listeners[1].getsockname()[1]
        server = HttpServer(origin, origin.metrics.registry, own.limits, at_once=origin.respond_at_once)
        if access_log is not None:
            writer = asyncio.create_task(_write(access_log))
            held.callback(lambda: access_log.write(access_log.take()))
            held.callback(writer.cancel)
        if reload is not None and own.reload_keys is not None:
            reloading = asyncio.create_task(_reload(origin, own.reload_keys, reload))
            held.callback(reloading.cancel)
        gc.freeze()  # what is here now stays, and need not be looked at by each collection
        await server.start(listeners)
        if reload is not None:
            warming = asyncio.create_task(origin.library.warm_up())
            held.callback(warming.cancel)
        try:
            on_ready()
            await stop.wait()
            origin.handlers.is_draining = server.is_draining = True
            await asyncio.sleep(own.linger_s)
        finally:
            await server.stop()


def _refuse_wrong_store(store: Store) -> None:
    """Raise what is wrong with a store's address or credentials, if that shows within `WRONG_STORE_S`.

    A store that is slow or away is none of these: the origin starts, and readiness tells.
    """
    found: list[StorageError] = []

    def look() -> None:
        try:
            store.page(f"{layout.TITLES}/", limit=1)
        except StorageError as error:
            found.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(WRONG_STORE_S)
    if found and not found[0].retryable:
        raise found[0]


async def _reload(origin: Origin, read: Callable[[], Keyring], wanted: asyncio.Event) -> None:
    """Read the keys again whenever that is wanted; keys that can't be read leave the old ones in place."""
    while True:
        await wanted.wait()
        wanted.clear()
        try:
            origin.use_keys(await asyncio.to_thread(read))
        except ConfigError as error:
            log.error("the keys stay as they were: %s", error)
        else:
            log.info("the keys were read again")


@contextmanager
def _state_dir(serving: Serving) -> Iterator[Path | None]:
    """Where leases are kept: gone with this process, unless a folder is given that others share."""
    if serving.keys is None or serving.state_dir is not None:
        yield serving.state_dir
        return
    with _private_folder() as folder:
        yield folder


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user may enter, in memory where that is possible."""
    with TemporaryDirectory(prefix="headend-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def _affordable(connections: int) -> tuple[int, int]:
    """As many connections and open files as are wanted, or as this process may have."""
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
    """For each worker a socket for everyone, and one for metrics if they have a port."""
    sockets = [[listener] for listener in listen(host, port, serving.workers)]
    try:
        if serving.metrics_port is not None:
            address = sockets[0][0].getsockname()[0]
            inner = listen(address, serving.metrics_port, serving.workers)
            sockets = [[*outer, listener] for outer, listener in zip(sockets, inner, strict=True)]
        yield sockets
    finally:
        _close(sockets)


def _close(sockets: list[list[socket.socket]]) -> None:
    for listeners in sockets:
        for each in listeners:
            each.close()
