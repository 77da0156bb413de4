"""Runs the origin: as a process until a signal, or in a thread of another process."""

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
from headend.core.timing import ceil_div
from origin.app import Origin
from origin.library import BLOBS, CACHE_BYTES

log = logging.getLogger("headend.origin")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
OTHER_FILES = 128
"""Open files reserved for the store, the leases and the interpreter."""
LIMITS = Limits()
"""Default limits of the server."""
WRONG_STORE_S = 1.0
"""How long the origin waits at its start for the store to reject its address or the credentials."""
MIN_BLOBS = 32
"""Minimum number of open media files, even if the process may open few files."""


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """Settings of an origin.

    Attributes:
        cache_bytes: Memory for cached files.
        limits: Limits of the server, for all workers together; connections are reduced if this process may not open
            enough files.
        linger_s: How long the origin still serves after a signal to stop. Meanwhile ``/readyz`` says that it is not
            ready, so that a load balancer stops sending requests to it.
        access_log: Whether to write each request to standard output, as a line of JSON.
        metrics_port: Port on which any client may read the metrics; None shows them only to this machine.
        keys: Keys that sign tokens; None serves everyone without tokens.
        reload_keys: Reads the keys again, on SIGHUP and when a worker starts; None if they never change.
        state_dir: Folder for leases, shared by all origins that serve the same accounts; None for a private one.
        disk_cache: Folder of the disk cache for media from a remote store; None for no disk cache.
        disk_cache_bytes: Size of the disk cache.
        licence_url: Address of the licence service, without a trailing slash; None if there is none.
        steering: Address of the steering server, which manifests at entry points name; empty for none.
        workers: Number of worker processes, which share the port and the limits above.
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

    def per_worker(self) -> "OriginSettings":
        """The settings of one worker, with its share of the memory and the limits."""
        limits = replace(
            self.limits,
            connections=ceil_div(self.limits.connections, self.workers),
            connections_per_client=ceil_div(self.limits.connections_per_client, self.workers),
            in_flight_bytes=self.limits.in_flight_bytes // self.workers,
        )
        return replace(self, cache_bytes=self.cache_bytes // self.workers, limits=limits)


def serve(
    store: StoreSettings | Store,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] | None = None,
    settings: OriginSettings = OriginSettings(),
) -> None:
    """Serve a store until SIGTERM or SIGINT, then finish pending requests. SIGHUP reads the keys again.

    Args:
        store: Store with the releases.
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.
        on_ready: Called with the base URL, without a trailing slash, once connections are accepted.
        settings: Settings.

    Raises:
        ConfigError: The store's address is malformed, or it is not possible to listen on the address or to store
            leases.
        StorageError: There is no such bucket, or the credentials are wrong.
    """
    _refuse_wrong_store(_opened(store))
    with _listening(host, port, settings) as sockets:
        url = url_of(host, sockets[0][0])

        def ready() -> None:
            if on_ready is not None:
                on_ready(url)

        if settings.workers == 1:
            asyncio.run(_until_signalled(_opened(store), sockets[0], settings, ready, _STOP_SIGNALS))
            return
        with _private_folder() as folder:
            shared = replace(settings, state_dir=settings.state_dir or folder)
            worker_mains = [
                partial(_worker_main, store, listeners, shared, WorkerIndex(number, settings.workers, folder))
                for number, listeners in enumerate(sockets)
            ]
            # The parent keeps the sockets open, so that pending connections survive a worker's crash.
            workers.supervise(worker_mains, on_ready=ready, on_stop=lambda: _close(sockets))


def _worker_main(
    store: StoreSettings | Store,
    listeners: Sequence[socket.socket],
    settings: OriginSettings,
    worker: WorkerIndex,
    ready: Callable[[], None],
    lifeline: int,
) -> None:
    """Run one worker process until SIGTERM or until the parent exits, which closes the ``lifeline`` pipe."""
    with contextlib.ExitStack() as resources:
        for listener in listeners:
            resources.enter_context(contextlib.closing(listener))
        asyncio.run(_until_signalled(_opened(store), listeners, settings, ready, (signal.SIGTERM,), worker, lifeline))


async def _until_signalled(
    store: Store,
    listeners: Sequence[socket.socket],
    settings: OriginSettings,
    on_ready: Callable[[], object],
    signals: Sequence[signal.Signals],
    worker: WorkerIndex = SINGLE,
    lifeline: int | None = None,
) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def request_stop() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)  # a second signal kills the process
        if lifeline is not None:
            loop.remove_reader(lifeline)

    for number in signals:
        loop.add_signal_handler(number, request_stop)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    if lifeline is not None:
        loop.add_reader(lifeline, request_stop)
    await _run(store, listeners, settings, stop, on_ready, worker, reload)


@contextmanager
def running(
    store: StoreSettings | Store,
    *,
    host: str = DEFAULT_HOST,
    port: int = 0,
    settings: OriginSettings = OriginSettings(),
) -> Iterator[str]:
    """Serve a store from a thread of this process until the ``with`` block ends.

    Args:
        store: Store with the releases.
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.
        settings: Settings; ``workers`` has no effect, because all runs in one thread.

    Yields:
        The base URL, without a trailing slash.

    Raises:
        ConfigError: As in `serve`.
    """
    opened = _opened(store)
    one_worker = replace(settings, workers=1)
    resources = contextlib.ExitStack()
    listeners = resources.enter_context(_listening(host, port, one_worker))[0]
    url = url_of(host, listeners[0])
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await _run(opened, listeners, one_worker, stop, lambda: ready.set_result(loop))

    def run_thread() -> None:
        with resources:
            try:
                asyncio.run(main())
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    thread = threading.Thread(target=run_thread, name="origin")
    thread.start()
    loop = ready.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


_SHARED_MEMORY = Path("/dev/shm")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def _run(
    store: Store,
    listeners: Sequence[socket.socket],
    settings: OriginSettings,
    stop: asyncio.Event,
    on_ready: Callable[[], object],
    worker: WorkerIndex = SINGLE,
    reload: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set.

    Args:
        store: Store with the releases.
        listeners: The public socket, and the metrics socket if there is one.
        settings: Settings for all workers together.
        stop: The caller sets it to stop the origin.
        on_ready: Called once connections are accepted.
        worker: Index of this worker process.
        reload: The caller sets it to read the keys again; None for an origin in a thread.
    """
    access_log = AccessLog(sys.stdout, redact=without_token) if settings.access_log else None
    async with contextlib.AsyncExitStack() as resources:
        connections, blobs = _fit_open_files(settings.limits.connections)
        mine = replace(settings, limits=replace(settings.limits, connections=connections)).per_worker()
        keys = mine.keys
        if mine.reload_keys is not None:
            keys = await asyncio.to_thread(mine.reload_keys)
        origin = Origin(
            store,
            cache_bytes=mine.cache_bytes,
            max_blobs=blobs,
            steering=mine.steering,
            access_log=access_log,
            keys=keys,
            state_dir=resources.enter_context(_state_dir(mine)),
            disk=mine.disk_cache,
            disk_bytes=mine.disk_cache_bytes,
            licence_url=mine.licence_url,
            worker=worker,
        )
        resources.push_async_callback(origin.close)
        if worker.count > 1:
            await resources.enter_async_context(exposed(worker, origin.metrics.registry))
        if len(listeners) > 1:
            origin.handlers.metrics_port = listeners[1].getsockname()[1]
        server = HttpServer(origin, origin.metrics.registry, mine.limits, at_once=origin.respond_at_once)
        if access_log is not None:
            writing = asyncio.create_task(_write_log(access_log))
            resources.callback(lambda: access_log.write(access_log.take()))
            resources.callback(writing.cancel)
        if reload is not None and mine.reload_keys is not None:
            reloading = asyncio.create_task(_reload(origin, mine.reload_keys, reload))
            resources.callback(reloading.cancel)
        gc.freeze()  # these objects live as long as the process, so the garbage collector can skip them
        await server.start(listeners)
        if reload is not None:
            warming_up = asyncio.create_task(origin.library.warm_up())
            resources.callback(warming_up.cancel)
        try:
            on_ready()
            await stop.wait()
            origin.handlers.is_draining = server.is_draining = True
            await asyncio.sleep(mine.linger_s)
        finally:
            await server.stop()


def _refuse_wrong_store(store: Store) -> None:
    """Raise an error if the store rejects its address or the credentials within `WRONG_STORE_S`.

    If the store is slow or unreachable, the origin starts anyway, and is not ready until the store answers.
    """
    errors: list[StorageError] = []

    def probe() -> None:
        try:
            store.page(f"{layout.TITLES}/", limit=1)
        except StorageError as error:
            errors.append(error)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(WRONG_STORE_S)
    if errors and not errors[0].retryable:
        raise errors[0]


async def _reload(origin: Origin, read: Callable[[], Keyring], reload: asyncio.Event) -> None:
    """Read the keys again whenever ``reload`` is set; if they can't be read, the old ones stay in use."""
    while True:
        await reload.wait()
        reload.clear()
        try:
            origin.use_keys(await asyncio.to_thread(read))
        except ConfigError as error:
            log.error("can't reload the keys, so the old ones stay in use: %s", error)
        else:
            log.info("reloaded the keys")


@contextmanager
def _state_dir(settings: OriginSettings) -> Iterator[Path | None]:
    """The folder for leases: the configured one, or a private one that is deleted at the end."""
    if settings.keys is None or settings.state_dir is not None:
        yield settings.state_dir
        return
    with _private_folder() as folder:
        yield folder


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A temporary folder that only this user can open, in memory if possible."""
    with TemporaryDirectory(
        prefix="headend-", dir=_SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    ) as folder:
        yield Path(folder)


def _fit_open_files(connections: int) -> tuple[int, int]:
    """Raise this process's limit of open files as far as possible, and divide it.

    Returns:
        How many connections and how many media files the process may have open: at most ``connections`` and `BLOBS`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + BLOBS + OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    available = wanted if soft == resource.RLIM_INFINITY else soft - OTHER_FILES
    connections = max(1, min(connections, available))
    return connections, max(MIN_BLOBS, min(BLOBS, available - connections))


async def _write_log(access_log: AccessLog) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        await asyncio.to_thread(access_log.write, access_log.take())


def _opened(store: StoreSettings | Store) -> Store:
    return open_store(store) if isinstance(store, StoreSettings) else store


@contextmanager
def _listening(host: str, port: int, settings: OriginSettings) -> Iterator[list[list[socket.socket]]]:
    """Open each worker's sockets: a public one, and one for metrics if they have a port."""
    sockets = [[listener] for listener in listen(host, port, settings.workers)]
    try:
        if settings.metrics_port is not None:
            address = sockets[0][0].getsockname()[0]
            metrics_sockets = listen(address, settings.metrics_port, settings.workers)
            sockets = [[*public, metrics] for public, metrics in zip(sockets, metrics_sockets, strict=True)]
        yield sockets
    finally:
        _close(sockets)


def _close(sockets: list[list[socket.socket]]) -> None:
    for listeners in sockets:
        for listener in listeners:
            listener.close()
