"""The parts of aiohttp and asyncio that `headend.core.http` relies on. Fails when an upgrade changes it."""

import ast
import asyncio
import inspect
import socket
from pathlib import Path

import pytest
from aiohttp import http, web, web_protocol
from aiohttp.http import RawRequestMessage

from headend.core.http import connections, fast_path, requests, responses, sending, server

PRIVATE_NAMES = {"_"}


@pytest.mark.parametrize("module", [connections, fast_path, requests, responses, server])
def test_only_public_names_of_libraries_are_used(module: object) -> None:
    source = Path(inspect.getfile(module)).read_text(encoding="utf-8")  # type: ignore[arg-type]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            assert isinstance(node.value, ast.Name) and node.value.id == "self", f"{ast.unparse(node)}"


def test_hooks_of_the_server_are_there_with_these_parameters() -> None:
    expected = {
        web.RequestHandler.connection_made: ["self", "transport"],
        web.RequestHandler.connection_lost: ["self", "exc"],
        web.RequestHandler.data_received: ["self", "data"],
        web.RequestHandler.eof_received: ["self"],
        web.RequestHandler.handle_error: ["self", "request", "status", "exc", "message"],
        web.RequestHandler.finish_response: ["self", "request", "resp", "start_time"],
        web.RequestHandler.close: ["self"],
        web.RequestHandler.force_close: ["self"],
        web.Server.__call__: ["self"],
    }
    for function, names in expected.items():
        assert list(inspect.signature(function).parameters) == names, function


def test_own_attributes_of_a_connection_hide_none_of_aiohttps() -> None:
    taken = {name for kind in web.RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    taken |= set(dir(web.RequestHandler))
    assert not taken & set(connections.Connection.__slots__)
    own = {name for name in vars(sending.PreparedResponse) if not name.startswith("__")} - {"_abc_impl"}
    assert own & set(dir(web.StreamResponse)) == {"keep_alive", "prepare", "prepared", "write_eof"}
    assert {"metrics", "limits", "loop", "in_flight", "date_line", "admit", "release"}.isdisjoint(dir(web.Server))


def test_our_requests_have_everything_that_the_server_uses() -> None:
    """Ours are made by the server's ``request_factory`` in place of aiohttp's own."""
    used = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(web_protocol.RequestHandler).strip()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("request", "self._current_request")
    }
    of_errors = {"remote", "writer", "headers"}  # in `handle_error`, which is ours
    assert used - of_errors == {"_task", "_cancel", "_finish"}
    assert {"_task", "_cancel", "_finish", "writer", "headers"} <= set(dir(requests.ReceivedRequest))
    assert {"method", "path", "headers", "version", "should_close"} <= set(dir(RawRequestMessage))
    assert "request_factory" in inspect.signature(web.Server).parameters


def test_immediate_answers_rely_on_the_parser_and_its_messages() -> None:
    assert {"HttpRequestParser", "HttpProcessingError", "StreamWriter", "HttpVersion11"} <= set(http.__all__)
    assert {"should_close", "upgrade", "version", "method", "path", "headers"} <= set(dir(http.RawRequestMessage))
    assert inspect.iscoroutinefunction(http.StreamWriter.drain)


def test_private_attributes_of_subclasses_hide_none_of_aiohttps() -> None:
    def assigned(kind: type) -> set[str]:
        tree = ast.parse(inspect.getsource(kind))
        return {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }

    for own, parent in ((server.HttpServer, web.Server), (sending.PreparedResponse, web.StreamResponse)):
        private = {name for name in assigned(own) if name.startswith("_")}
        inherited = {name for kind in parent.__mro__ if "aiohttp" in kind.__module__ for name in assigned(kind)} | set(
            dir(parent)
        )
        assert not private & inherited, private & inherited


def test_a_file_goes_out_by_sendfile_at_an_offset_and_its_position_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))

    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        with path.open("rb", buffering=0) as file, theirs:
            sent = await asyncio.get_running_loop().sendfile(transport, file, 50, 100, fallback=False)
            assert sent == 100
            transport.close()
            await asyncio.sleep(0)
            theirs.settimeout(5)
            return theirs.recv(1000)

    assert asyncio.run(main()) == bytes(range(50, 150))
