"""An aiohttp server with a trivial handler: a lower bound for servers on aiohttp.

``python -m benchmarks.bare`` prints its address.
"""

import asyncio
import json

from aiohttp import web

_HEAD = (
    b"HTTP/1.1 304 Not Modified\r\nServer: bare\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b'ETag: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"\r\n'
    b"Cache-Control: public, max-age=31536000, immutable\r\n\r\n"
)


class _Constant(web.StreamResponse):
    """Writes constant bytes, bypassing aiohttp's own response handling."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._to = transport

    @property
    def keep_alive(self) -> bool:
        return True

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        pass

    async def write_eof(self, _: bytes = b"") -> None:
        self._to.write(_HEAD)


async def _handle(request: web.BaseRequest) -> web.StreamResponse:
    transport = request.transport
    assert transport is not None
    return _Constant(transport)


async def _serve() -> None:
    runner = web.ServerRunner(web.Server(_handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
