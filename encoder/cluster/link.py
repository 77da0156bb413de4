"""The connection to a Dask scheduler: poll the workers, query new ones, and reconnect when the scheduler goes away."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client, Security
from distributed.comm.addressing import resolve_address
from tornado.ioloop import IOLoop

import headend
from encoder.cluster import introspection
from encoder.cluster.performing import Perform
from encoder.cluster.roster import Requirements, WorkerState
from headend.core.errors import ConfigError

CONNECT_S = 10
"""Timeout for connecting to a scheduler."""
POLL_S = 2.0
"""How often the scheduler is asked for its workers."""
CLOSE_S = 2.0
"""How long to wait for a connection to close; it may take longer in the background."""
RECONNECT_S = 30.0
"""How long to try to reconnect to a scheduler that has gone away."""
QUERY_S = 60.0
"""Timeout of a query to a worker; it is queried again later."""
_QUERY_THREADS = 8
"""Number of workers that are queried at once."""

cloudpickle.register_pickle_by_value(introspection)


@dataclass(frozen=True, slots=True)
class Handlers:
    """The functions that a link calls. The calls are put into its inbox.

    Attributes:
        on_workers: Gets the state of every worker.
        on_answer: Gets a worker's address and its answer to `introspection.describe_self`; None if it did not answer.
        on_report: Gets the key of a running task and its report, see `encoder.cluster.performing.run_on_worker`.
        on_lost: Called when the connection to the scheduler is lost.
        on_reconnected: Called when it is connected again.
        on_gone: Called when it could not be connected again in time.
    """

    on_workers: Callable[[list[WorkerState]], None]
    on_answer: Callable[[str, dict[str, Any] | None], None]
    on_report: Callable[[str, int | str | bytes | None], None]
    on_lost: Callable[[], None]
    on_reconnected: Callable[[], None]
    on_gone: Callable[[], None]


class Link:
    """A connection to one scheduler, with the threads that watch it.

    Args:
        connect: Connects to the scheduler; called again if the connection is lost.
        inbox: Receives the calls of handlers; they must be made by the thread that owns the handlers' state.
        handlers: The handlers.
        modules: Returns the modules that workers must be able to import.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        inbox: SimpleQueue[Callable[[], None]],
        handlers: Handlers,
        modules: Callable[[], tuple[str, ...]],
    ) -> None:
        self._connect = connect
        self._inbox = inbox
        self._handlers = handlers
        self._modules = modules
        self._queries: SimpleQueue[str] = SimpleQueue()
        self._closed = threading.Event()
        self._is_lost = threading.Event()
        self._scheduler = ""
        """Id of the scheduler that knows the topic."""
        self._stream: Any = None
        """The client's connection through which reports and results arrive."""
        self.topic = f"headend-{uuid4().hex}"
        """The Dask topic to which tasks publish reports."""
        self.client: Client | None = None

    def open(self, *, queries: bool) -> None:
        """Connect, and start the threads.

        Args:
            queries: Whether workers are queried.

        Raises:
            ConfigError: The scheduler can't be reached.
        """
        self.client = self._connected()
        threads = [threading.Thread(target=self._poll_forever, daemon=True)]
        if queries:
            threads += [threading.Thread(target=self._query_forever, daemon=True) for _ in range(_QUERY_THREADS)]
        for thread in threads:
            thread.start()

    def close(self) -> None:
        """Disconnect; the threads end soon after."""
        self._closed.set()
        _close(self.client)

    def mark_lost(self) -> None:
        """Treat the connection as lost, so that the link reconnects.

        It does so even if Dask's client has reconnected by itself: a new scheduler does not know the topic.
        """
        self._is_lost.set()

    def query(self, address: str) -> None:
        """Query a worker in the background."""
        self._queries.put(address)

    def _connected(self) -> Client:
        self._is_lost.clear()
        client = self._connect()
        try:
            self._scheduler = client.run_on_scheduler(introspection.report_deaths)
            client.subscribe_topic(self.topic, self._on_topic)
        except BaseException:
            _close(client)
            raise
        self._stream = client.scheduler_comm
        return client

    def _on_topic(self, event: tuple[float, tuple[str, int | str | bytes | None]]) -> None:
        self._inbox.put(partial(self._handlers.on_report, *event[1]))

    def _poll_forever(self) -> None:
        while not self._closed.is_set():
            if (states := self._poll()) is not None:
                self._inbox.put(partial(self._handlers.on_workers, states))
            else:
                self._inbox.put(self._handlers.on_lost)
                if not self._reconnect():
                    return
            self._closed.wait(POLL_S)

    def _poll(self) -> list[WorkerState] | None:
        """The state of every worker; None if the connection was lost, whether or not there is another one since.

        Dask's client connects again by itself if its connection breaks. What was sent in the meantime is lost, and if
        the scheduler notices the break after the new connection, it sends nothing more (distributed 2026.8).
        """
        try:
            assert self.client is not None
            scheduler, facts = self.client.run_on_scheduler(introspection.describe_workers)
        except Exception:  # Dask raises many types when a connection breaks
            return None
        is_same = scheduler == self._scheduler and self.client.scheduler_comm is self._stream
        if self._is_lost.is_set() or not is_same:
            return None
        return [WorkerState(*state) for state in facts]

    def _query_forever(self) -> None:
        """Query workers; a frozen worker only delays the thread that queries it."""
        while not self._closed.is_set():
            try:
                address = self._queries.get(timeout=POLL_S)
            except Empty:
                continue
            answer = None
            with contextlib.suppress(Exception):  # the worker or the scheduler went away
                assert self.client is not None
                answer = query(self.client, [address], self._modules()).get(address)
            self._inbox.put(partial(self._handlers.on_answer, address, answer))

    def _reconnect(self) -> bool:
        """Connect to the scheduler again; False if the link is closed, or the scheduler does not answer in time."""
        deadline_s = time.monotonic() + RECONNECT_S
        while not self._closed.is_set():
            try:
                client = self._connected()
            except Exception:  # as in `_poll`; it is tried again until the deadline
                if time.monotonic() > deadline_s:
                    self._inbox.put(self._handlers.on_gone)
                    return False
                self._closed.wait(POLL_S)
            else:
                old, self.client = self.client, client
                _close(old)
                self._inbox.put(self._handlers.on_reconnected)
                return True
        return False


def connect(address: str) -> Client:
    """Connect to a scheduler; raises `ConfigError` if none answers, or if TLS is not configured."""
    if address.startswith("tls:") and Security().get_connection_args("client")["ssl_context"] is None:
        raise ConfigError(f"{address} needs a certificate: name it in Dask's configuration, under distributed.comm.tls")
    try:
        resolve_address(address)  # first, because a client with a wrong address could not be closed
        return Client(address, timeout=CONNECT_S, loop=_loop())
    except (OSError, ValueError) as error:
        raise unreachable(address) from error


def unreachable(address: str) -> ConfigError:
    """Return the error for a scheduler that does not answer."""
    return ConfigError(f"no Dask scheduler answers at {address}: start one with 'dask scheduler'")


def query(client: Client, addresses: Sequence[str], modules: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Query workers with `introspection.describe_self`; those that don't answer are missing from the result."""
    answers = client.run(
        introspection.describe_self, modules, workers=list(addresses), on_error="return", callback_timeout=QUERY_S
    )
    return {address: answer for address, answer in answers.items() if isinstance(answer, dict)}


def modules_of(performs: Sequence[Perform]) -> tuple[str, ...]:
    """The modules that workers must be able to import."""
    functions = (perform.func if isinstance(perform, partial) else perform for perform in performs)
    names = {getattr(function, "__module__", None) or "__main__" for function in functions}
    return tuple(sorted(names - {"__main__"}))


def requirements(tool: str | None) -> Requirements:
    """What workers of a remote cluster must have; ``tool`` is FFmpeg's version line, or None for any."""
    return Requirements(headend.__version__, tool)


@cache
def _loop() -> IOLoop:
    """The event loop of all connections of this process, in a thread of its own.

    Without it, each client starts a loop, which keeps running if the client can't connect (distributed 2026.8).
    """
    started: Future[IOLoop] = Future()

    async def run_forever() -> None:
        started.set_result(IOLoop.current())
        await asyncio.get_running_loop().create_future()

    threading.Thread(target=asyncio.run, args=(run_forever(),), name="dask", daemon=True).start()
    return started.result()


def _close(client: Client | None) -> None:
    """Close a client in the background.

    A client must always be closed, and referenced until it is. Otherwise, the garbage collector closes it in any thread
    at any time, which may block that thread for ever.
    """
    if client is None:
        return

    def close() -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.close()

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(CLOSE_S)
