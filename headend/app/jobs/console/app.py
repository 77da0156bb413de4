"""The console's routes, and the thread that serves them."""

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import CollectorRegistry

from headend.app.jobs.console import openapi
from headend.app.jobs.console.rights import Right, Tokens
from headend.app.jobs.console.view import View, listed
from headend.app.jobs.model import State, Verb
from headend.app.jobs.plain import entry_plain, full_plain, progress_plain
from headend.app.jobs.queue import Entry, Queue
from headend.core.errors import ConfigError, StorageError
from headend.core.hosts import is_loopback
from headend.core.http.theme import THEME
from headend.core.prices import Prices

STATIC = Path(__file__).with_name("static")
PUSH_S = 2.0
"""How often changes are pushed to pages."""
LIST_SHARE = 20.0
"""Minimum ratio of the pause between reads of the queue to the duration of a read."""
BODY_BYTES = 4096
DEFAULT_LIMIT = 500
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RIGHT = web.RequestKey("right", Right)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CommandBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a command."""

    verb: Verb
    priority: int | None = None


class Console:
    """The console's state, read from the store at most once every `PUSH_S` and shared by all clients.

    Args:
        queue: The jobs.
        view: The dispatcher.
        prices: Prices that usage is charged at.
        tokens: Tokens and their rights.
        store: The store's address, for display.
        metrics: The dispatcher's metrics for Prometheus.
    """

    def __init__(
        self,
        queue: Queue,
        view: View,
        prices: Prices,
        tokens: Tokens,
        store: str,
        metrics: CollectorRegistry | None = None,
    ) -> None:
        self._queue = queue
        self._view = view
        self._prices = prices
        self._tokens = tokens
        self._store = store
        self._registry = metrics or CollectorRegistry()
        self._entries: tuple[Entry, ...] = ()
        self._due_s = float("-inf")
        self._reading = asyncio.Lock()

    def app(self) -> web.Application:
        """Make the application with all routes."""
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES)
        app.router.add_get("/", _page(STATIC / "index.html"))
        for path in (THEME, *sorted(STATIC.iterdir())):
            app.router.add_get(f"/{path.name}", _page(path))
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/openapi.json", _openapi)
        app.router.add_get("/api/v1/overview", self._overview)
        app.router.add_get("/api/v1/jobs", self._jobs)
        app.router.add_get("/api/v1/jobs/{job}", self._job)
        app.router.add_get("/api/v1/jobs/{job}/quality", self._quality)
        app.router.add_post("/api/v1/jobs/{job}/commands", self._command)
        app.router.add_get("/api/v1/events", self._events)
        return app

    # --- authorization ---

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._tokens.secrets and not _loopback_name(request.host):
            # DNS rebinding: a page of another site may reach this address by its own host name.
            return _error(403, f"{request.host!r} is not a loopback name: open the console as http://127.0.0.1")
        if request.path.startswith("/api/") or request.path == "/metrics":
            right = self._tokens.right_of(request.headers.get("Authorization"))
            if right is Right.NONE:
                unauthorized = _error(401, "send a token: Authorization: Bearer TOKEN")
                unauthorized.headers["WWW-Authenticate"] = 'Bearer realm="headend"'
                return unauthorized
            request[RIGHT] = right
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            return _error(404, f"there is nothing at {request.path}")
        except StorageError as error:
            return _error(503, error.message)
        if not response.prepared:
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    # --- resources ---

    async def _overview(self, request: web.Request) -> web.Response:
        return _json(await self.overview(request[RIGHT]))

    async def overview(self, right: Right) -> dict[str, Any]:
        """Return the dispatcher's state as a document."""
        entries = await self.entries()
        counts = Counter(entry.state.value for entry in entries)
        return {
            "dispatcher": self._view.who,
            "fence": self._view.fence,
            "store": self._store,
            "now_s": time.time(),
            "right": "operate" if right is Right.OPERATE else "read",
            "jobs": {state.value: counts[state.value] for state in State},
            "workers": [asdict(worker) for worker in self._view.workers()],
            "running": [
                {"job": running.job, "progress": progress_plain(running.progress) if running.progress else None}
                for running in self._view.running()
            ],
            "runs": [asdict(run) for run in self._view.runs()],
        }

    async def entries(self, *, fresh: bool = False) -> tuple[Entry, ...]:
        """List all jobs, from a cache of a few seconds unless ``fresh``."""
        async with self._reading:
            began_s = time.monotonic()
            if fresh or began_s >= self._due_s:
                self._entries = await asyncio.to_thread(self._queue.all_entries)
                now_s = time.monotonic()
                # Listing a long queue is slow: an open page must not keep a core busy.
                self._due_s = now_s + max(PUSH_S, LIST_SHARE * (now_s - began_s))
        return self._entries

    async def _jobs(self, request: web.Request) -> web.Response:
        state, limit = request.query.get("state"), request.query.get("limit", str(DEFAULT_LIMIT))
        if state is not None and state not in set(State):
            return _error(400, f"{state[:40]!r} is not a state: use one of {', '.join(State)}")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= 10_000):
            return _error(400, f"limit {limit[:40]!r} is not 1 to 10000")
        found = [entry for entry in await self.entries() if state is None or entry.state.value == state]
        return _json({"jobs": [entry_plain(entry) for entry in found[-int(limit) :]], "total": len(found)})

    async def _job(self, request: web.Request) -> web.Response:
        try:
            return _json(await asyncio.to_thread(self._full, request.match_info["job"]))
        except ConfigError as error:
            return _error(404, error.message)

    async def _quality(self, request: web.Request) -> web.Response:
        """Return the quality report on a job's release."""
        try:
            job = await asyncio.to_thread(self._queue.read, request.match_info["job"])
            page = await asyncio.to_thread(self._queue.quality_page, job)
        except ConfigError as error:
            return _error(404, error.message)
        return web.Response(body=page, content_type="text/html", charset="utf-8")

    def _full(self, job: str) -> dict[str, object]:
        return full_plain(self._queue, self._queue.read(job), self._prices)

    async def _command(self, request: web.Request) -> web.Response:
        if request[RIGHT] is not Right.OPERATE:
            return _error(403, "this token has the right to read only")
        if request.content_type != "application/json":
            return _error(415, "send application/json")
        try:
            body = msgspec.json.decode(await request.read(), type=CommandBody)
        except (msgspec.DecodeError, web.HTTPRequestEntityTooLarge, UnicodeDecodeError) as error:
            return _error(400, f"the body is not a command: {error}")
        if (body.verb is Verb.PRIORITISE) != (body.priority is not None):
            return _error(400, "send a priority with 'prioritise', and only with it")
        if body.priority is not None and not 0 <= body.priority <= 100:
            return _error(400, f"priority {body.priority} is not 0 to 100")
        name = request.match_info["job"]
        try:
            await asyncio.to_thread(self._queue.read, name)
        except ConfigError as error:
            return _error(404, error.message)
        try:
            job = await asyncio.to_thread(self._queue.command, name, body.verb, priority=body.priority)
        except ConfigError as error:
            return _error(409, error.message)
        await self.entries(fresh=True)
        return _json(await asyncio.to_thread(full_plain, self._queue, job, self._prices))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            async for name, document in self._changes(request[RIGHT]):
                await response.write(f"event: {name}\ndata: {json.dumps(document)}\n\n".encode())
        return response

    async def _changes(self, right: Right) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        sent: dict[str, Entry] = {}
        total = 0
        while True:
            try:
                entries = await self.entries()
            except StorageError as error:
                yield "trouble", {"error": error.message}
                await asyncio.sleep(PUSH_S)
                continue
            wanted = {entry.id for entry in listed(entries, DEFAULT_LIMIT)} | sent.keys()
            changed = [entry for entry in entries if entry.id in wanted and sent.get(entry.id) != entry]
            sent.update((entry.id, entry) for entry in changed)
            if changed or len(entries) != total:
                total = len(entries)
                yield "jobs", {"jobs": [entry_plain(entry) for entry in changed], "total": total}
            yield "overview", await self.overview(right)
            await asyncio.sleep(PUSH_S)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


class Server:
    """Serves a console in its own thread; a context manager.

    Args:
        make: Makes the console; called in that thread.
        host: Address to listen on.
        port: Port; 0 for a free one.
    """

    def __init__(self, make: Callable[[], Console], host: str, port: int) -> None:
        self._make = make
        self._host = host
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="console", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except OSError as error:
            self.__exit__(None, None, None)
            raise ConfigError(
                f"the console can't listen on {self._host}:{self._port}: {error.strerror}; choose another --http"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The console's address."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/"

    async def _start(self) -> None:
        self._runner = web.AppRunner(self._make().app(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]


def address_of(text: str, tokens: Tokens) -> tuple[str, int]:
    """Parse ``[HOST]:PORT``; without tokens the host must be loopback.

    Raises:
        ConfigError: The text is malformed, or the address is open to other machines without tokens.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not colon or not (port.isascii() and port.isdigit() and int(port[:6]) < 65536):
        raise ConfigError(f"{text[:80]!r} is not HOST:PORT or :PORT, such as :8090")
    if not tokens.secrets and not is_loopback(host):
        raise ConfigError(f"other machines can reach {host}: give --http-tokens FILE, or listen on 127.0.0.1")
    return host, int(port)


def _loopback_name(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return is_loopback(name.strip("[]"))


def _page(path: Path) -> Handler:
    body = path.read_bytes()
    content_type = TYPES[path.suffix]
    headers = {"Content-Security-Policy": POLICY}

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return respond


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _openapi(_request: web.Request) -> web.StreamResponse:
    return _json(openapi.document())


def _json(document: Any) -> web.Response:
    return web.json_response(document)


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
