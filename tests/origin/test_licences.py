"""The licence service with a real client over a real socket."""

import asyncio
import base64
import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from headend.core.http.listening import listen, url_of
from headend.core.keys import cpix, lines, open_keys
from headend.core.keys.base import ContentKey, new_secret
from headend.core.keys.file import FileKeys
from headend.core.keys.provider import Provider
from headend.core.media.protection import KeyClass, KeyName, Scheme, key_name
from origin import licences
from origin.key_cache import KeyCache
from origin.licences import LicenceService, LicenceSettings, covers
from packager.signalling import SYSTEM_IDS, signals_for
from tests.origin import grants
from tests.support.raw_http import connected, exchange

Found = TypeVar("Found")
TITLE = "film"
NAMES = {key_class: key_name(TITLE, Scheme.CBCS, key_class) for key_class in KeyClass}
OTHER = key_name("other", Scheme.CBCS, KeyClass.SD)
SECRETS = {name.kid: new_secret() for name in (*NAMES.values(), OTHER)}
UNKNOWN = "00" * 16


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.touch(0o600)
    path.write_text(lines.write(ContentKey(name, SECRETS[name.kid]) for name in (*NAMES.values(), OTHER)))
    return path


def b64(kid: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(kid)).rstrip(b"=").decode()


def token(**changes: Any) -> str:
    return grants.token(title=TITLE, **changes)


def with_server(settings: LicenceSettings, ask: Callable[[str], Found]) -> Found:
    """Responses of a running service, by its address, over raw sockets."""

    async def run() -> Found:
        service = LicenceService(settings)
        server, listener = service.server(), listen("127.0.0.1", 0)[0]
        await server.start([listener])
        try:
            return await asyncio.to_thread(ask, url_of("127.0.0.1", listener))
        finally:
            await server.stop()
            service.close()

    return asyncio.run(run())


def answers(settings: LicenceSettings, *requests: tuple[str, str, Any]) -> list[tuple[int, bytes, Any]]:
    """Responses of the service to some requests: status, body and headers."""

    async def ask() -> list[tuple[int, bytes, Any]]:
        service = LicenceService(settings)
        server, listener = service.server(), listen("127.0.0.1", 0)[0]
        await server.start([listener])
        url = url_of("127.0.0.1", listener)
        found = []
        try:
            async with aiohttp.ClientSession() as session:
                for method, path, body in requests:
                    async with session.request(method, f"{url}{path}", data=body) as answer:
                        found.append((answer.status, await answer.read(), answer.headers))
        finally:
            await server.stop()
            service.close()
        return found

    return asyncio.run(ask())


@pytest.fixture
def settings(key_file: Path, tmp_path: Path) -> LicenceSettings:
    return LicenceSettings(open_keys(str(key_file)), grants.KEYS, state_dir=tmp_path)


def licence_request(*kids: str) -> str:
    return json.dumps({"kids": [b64(kid) for kid in kids], "type": "temporary"})


def given(body: bytes) -> dict[str, bytes]:
    document = json.loads(body)
    assert document["type"] == "temporary"

    def raw(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "==")

    return {raw(key["kid"]).hex(): raw(key["k"]) for key in document["keys"] if key["kty"] == "oct"}


def test_a_licence_has_the_requested_keys(settings: LicenceSettings) -> None:
    kids = [NAMES[KeyClass.AUDIO].kid, NAMES[KeyClass.SD].kid]
    for path in (f"/t/{token()}/film/licence", f"/t/{token()}/film/0123456789abcdef/licence"):
        [(status, body, headers)] = answers(settings, ("POST", path, licence_request(*kids)))
        assert status == 200
        assert given(body) == {kid: SECRETS[kid] for kid in kids}
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == "*"


def test_a_key_is_its_sixteen_bytes(settings: LicenceSettings) -> None:
    kid = NAMES[KeyClass.HD].kid
    [(status, body, headers)] = answers(settings, ("GET", f"/t/{token()}/film/keys/{kid}", None))
    assert (status, body, headers["Cache-Control"]) == (200, SECRETS[kid], "no-store")


@pytest.mark.parametrize(
    ("limit", "classes"),
    [
        (None, {KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.UHD, KeyClass.ALL}),
        (1080, {KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.ALL}),
        (720, {KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.ALL}),
        (576, {KeyClass.AUDIO, KeyClass.SD, KeyClass.ALL}),
    ],
)
def test_keys_of_pictures_above_the_plan_are_left_out(
    settings: LicenceSettings, limit: int | None, classes: set[KeyClass]
) -> None:
    assert {key_class for key_class in KeyClass if covers(key_class, limit)} == classes
    wanted = licence_request(*(name.kid for name in NAMES.values()))
    [(status, body, _)] = answers(settings, ("POST", f"/t/{token(max_height_px=limit)}/film/licence", wanted))
    assert status == 200
    assert given(body).keys() == {NAMES[key_class].kid for key_class in classes}


def test_a_key_above_the_plan_looks_like_a_missing_one(settings: LicenceSettings) -> None:
    where = f"/t/{token(max_height_px=576)}/film"
    refused = [
        answer[:2]
        for answer in answers(
            settings,
            *(
                ("POST", f"{where}/licence", licence_request(kid))
                for kid in (NAMES[KeyClass.UHD].kid, OTHER.kid, UNKNOWN)
            ),
            *(("GET", f"{where}/keys/{kid}", None) for kid in (NAMES[KeyClass.UHD].kid, OTHER.kid, UNKNOWN, "-" * 32)),
        )
    ]
    assert len(set(refused)) == 1
    assert refused[0][0] == 403


NOT_COVERING: dict[str, Callable[[], str]] = {
    "no token": lambda: "x.y.z",
    "of another title": lambda: grants.token(title="other"),
    "signed by a stranger": lambda: token(keys=grants.STRANGE_KEYS),
    "expired": lambda: token(expires_s=int(time.time()) - 120),
    "after the licence's end": lambda: token(licensed_until_s=int(time.time()) - 1),
    "for another territory": lambda: token(territories=("DE",)),
}


@pytest.mark.parametrize("word", NOT_COVERING.values(), ids=NOT_COVERING)
def test_a_token_that_does_not_cover_the_title_gets_no_key(settings: LicenceSettings, word: Callable[[], str]) -> None:
    kid = NAMES[KeyClass.SD].kid
    for status, body, _ in answers(
        settings,
        ("POST", f"/t/{word()}/film/licence", licence_request(kid)),
        ("GET", f"/t/{word()}/film/keys/{kid}", None),
    ):
        assert status == 403
        assert SECRETS[kid] not in body


def test_a_licence_takes_a_screen(settings: LicenceSettings) -> None:
    kid = NAMES[KeyClass.SD].kid
    path = "/t/{}/film/licence"
    found = answers(
        settings,
        ("POST", path.format(token(session="one")), licence_request(kid)),
        ("POST", path.format(token(session="two")), licence_request(kid)),
        ("POST", path.format(token(session="one")), licence_request(kid)),
    )
    assert [status for status, _, _ in found] == [200, 403, 200]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        (b"\xff\xfe", 400),
        ('{"kids": "x"}', 400),
        ('{"kids": []}', 400),
        ('{"kids": ["AAAA"]}', 400),
        ('{"kids": ["!!!!!!!!!!!!!!!!!!!!!!"]}', 400),
        (json.dumps({"kids": [b64(UNKNOWN)], "type": "persistent-license"}), 400),
        (json.dumps({"kids": [b64(UNKNOWN)] * 65}), 400),
        (json.dumps({"kids": [b64(UNKNOWN)], "pad": "x" * 4096}), 413),
        ("[" * 4000, 400),
    ],
)
def test_malformed_licence_requests_get_one_status(settings: LicenceSettings, body: Any, status: int) -> None:
    [(found, _, _)] = answers(settings, ("POST", f"/t/{token()}/film/licence", body))
    assert found == status


def post(body: bytes, *headers: bytes, path: bytes = b"/film/licence", method: bytes = b"POST") -> bytes:
    lines = (method + b" " + path + b" HTTP/1.1", b"Host: a", b"Connection: close", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body))


KID = b64(UNKNOWN)
HOSTILE: dict[str, tuple[bytes, int]] = {
    "ten thousand keys": (post(json.dumps({"kids": [KID] * 10_000}).encode()), 413),
    "sixty-four times one key": (post(json.dumps({"kids": [KID] * 64}).encode()), 403),
    "numbers": (post(b'{"kids": [1, 2]}'), 400),
    "an object of keys": (post(b'{"kids": {"a": 1}}'), 400),
    "a number as a type": (post(b'{"kids": ["%s"], "type": 3}' % KID.encode()), 400),
    "no UTF-8": (post(b'{"kids": ["\xff\xfe"]}'), 400),
    "half a surrogate": (post(b'{"kids": ["\\ud800%s"]}' % KID.encode()), 400),
    "another alphabet": (post('{"kids": ["é"]}'.encode()), 400),
    "UTF-16": (post(json.dumps({"kids": [KID]}).encode("utf-16")), 400),
    "a number of no size": (post(b'{"kids": ["%s"], "x": NaN}' % KID.encode()), 400),
    "a deep value that nobody reads": (post(b'{"x": %s%s, "kids": []}' % (b"[" * 2000, b"]" * 2000)), 400),
    "compressed": (post(gzip.compress(b'{"kids": []}'), b"Content-Encoding: gzip"), 400),
    "said to be compressed": (post(b"no", b"Content-Encoding: br"), 400),
    "a bomb": (post(gzip.compress(bytes(32 << 20)), b"Content-Encoding: gzip"), 413),
    "ten megabytes": (post(bytes(10 << 20)), 413),
    "longer than it is": (
        b"POST /film/licence HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + bytes(5000), 413
    ),
    "a body of two lengths": (post(b"{}", b"Content-Length: 7"), 400),
    "a negative length": (b"POST /film/licence HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "chunks that are none": (
        b"POST /film/licence HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n", 400
    ),
    "chunks": (post(b"", b"X: a").replace(
        b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 400),
    "a form": (post(b"--x", b"Content-Type: multipart/form-data; boundary=x"), 400),
    "PUT": (post(b"", method=b"PUT"), 405),
    "TRACE": (post(b"", method=b"TRACE"), 405),
    "no method": (post(b"", method=b"@@@"), 400),
    "CONNECT": (b"CONNECT film:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "a body with GET": (post(b"{}", path=b"/film/keys/" + UNKNOWN.encode(), method=b"GET"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00" + bytes(100), 400),
    "a long line": (post(b"", path=b"/t/" + b"a" * 100_000 + b"/film/licence"), 400),
    "many headers": (post(b"", *(b"X-%d: a" % n for n in range(1000))), 400),
    "a way out": (post(b"", path=b"/..%2f/licence"), 404),
}  # fmt: skip


def test_hostile_requests_get_a_status_and_leave_no_trace(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After any input, the next request is answered, nothing is logged, and no input is echoed."""

    def ask(url: str) -> dict[str, bytes]:
        return {name: exchange(url, request) for name, (request, _) in HOSTILE.items()}

    with caplog.at_level(logging.INFO):
        found = with_server(LicenceSettings(open_keys(str(key_file)), None, is_open=True), ask)
    assert {name: int(answer.split(b" ", 2)[1]) for name, answer in found.items()} == {
        name: status for name, (_, status) in HOSTILE.items()
    }
    for name, answer in found.items():
        assert answer.count(b"HTTP/1.1 ") == 1, name
        head, _, body = answer.partition(b"\r\n\r\n")
        assert len(body) < 100 and (not body or set(json.loads(body)) == {"error"}), name
        assert b"Server: headend\r\n" in head
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_slow_clients_are_cut_off(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "BODY_S", 0.3)
    monkeypatch.setattr(licences, "HEAD_S", 0.3)
    begun = b"POST /film/licence HTTP/1.1\r\nHost: a\r\n"
    slow = {"silent": b"", "half a head": begun, "half a body": begun + b"Content-Length: 20\r\n\r\n{"}

    def ask(url: str) -> dict[str, bytes]:
        return {name: exchange(url, request) for name, request in slow.items()}

    found = with_server(LicenceSettings(open_keys(str(key_file)), None, is_open=True), ask)
    assert (found["silent"], found["half a head"]) == (b"", b"")
    assert found["half a body"].startswith(b"HTTP/1.1 408 ")


def test_a_client_that_disconnects_during_a_request_is_not_an_error(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(url: str) -> bytes:
        for _ in range(3):
            with connected(url) as client:
                client.sendall(b"POST /film/licence HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n{")
        return exchange(url, post(licence_request(NAMES[KeyClass.SD].kid).encode()))

    with caplog.at_level(logging.INFO):
        answer = with_server(LicenceSettings(open_keys(str(key_file)), None, is_open=True), ask)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


def test_a_body_may_have_at_most_four_kibibytes(settings: LicenceSettings) -> None:
    request = licence_request(NAMES[KeyClass.SD].kid)
    whole = request + " " * (4096 - len(request))
    found = answers(
        settings,
        ("POST", f"/t/{token()}/film/licence", whole),
        ("POST", f"/t/{token()}/film/licence", whole + " "),
    )
    assert [status for status, _, _ in found] == [200, 413]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/film/licence", 404),
        ("POST", "/film/licence", 404),
        ("GET", "/t/TOKEN/film/licence", 405),
        ("POST", f"/t/TOKEN/film/keys/{UNKNOWN}", 405),
        ("GET", "/t/TOKEN/film/keys/..%2f..%2fkeys", 404),
        ("GET", f"/t/TOKEN/%2e%2e/keys/{UNKNOWN}", 404),
        ("HEAD", f"/t/TOKEN/film/keys/{UNKNOWN}", 405),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("HEAD", "/metrics", 200),
        ("GET", "/metrics", 200),
        ("OPTIONS", "/t/TOKEN/film/licence", 204),
    ],
)
def test_only_the_routes_exist(settings: LicenceSettings, method: str, path: str, status: int) -> None:
    [(found, _, headers)] = answers(settings, (method, path.replace("TOKEN", token()), None))
    assert found == status
    if status == 204:
        assert "Content-Type" in headers["Access-Control-Allow-Headers"]


def test_an_open_service_requires_no_token(key_file: Path) -> None:
    kid = NAMES[KeyClass.UHD].kid
    open_to_all = LicenceSettings(open_keys(str(key_file)), None, is_open=True)
    found = answers(open_to_all, ("POST", "/film/licence", licence_request(kid)), ("GET", f"/film/keys/{kid}", None))
    assert given(found[0][1]) == {kid: SECRETS[kid]}
    assert found[1][1] == SECRETS[kid]


def test_a_service_without_token_keys_gives_players_nothing(key_file: Path) -> None:
    kid = NAMES[KeyClass.UHD].kid
    closed = LicenceSettings(open_keys(str(key_file)), None)
    found = answers(closed, ("POST", "/film/licence", licence_request(kid)), ("GET", f"/film/keys/{kid}", None))
    assert [status for status, _, _ in found] == [404, 404]


def test_a_provider_makes_the_requested_keys_and_returns_the_same_ones_again(tmp_path: Path) -> None:
    path = tmp_path / "dev.keys"
    provider = LicenceSettings(open_keys(str(path)), None, speke=Provider(path, signals_for).answer)
    names = list(NAMES.values())
    request = cpix.request(TITLE, names, list(SYSTEM_IDS.values()))
    (status, body, headers), again = answers(provider, ("POST", "/speke", request), ("POST", "/speke", request))
    assert (status, headers["X-Speke-Version"]) == (200, "2.0")
    document = cpix.read(body, "answer")
    assert document.keys == cpix.read(again[1], "answer").keys
    assert document.keys.keys() == {name.kid for name in names}
    assert len(document.signals) == len(SYSTEM_IDS) * len(names)
    assert document.signals[0] in signals_for(names, SYSTEM_IDS.values())
    assert path.stat().st_mode & 0o777 == 0o600
    assert {key.name.kid: key.secret for key in FileKeys(path).all()} == document.keys


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<x/>", 422),
        (b"no XML", 422),
        (b"", 422),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 422),
        (cpix.request(TITLE, [], []), 422),
        (cpix.request(TITLE, [NAMES[KeyClass.SD], NAMES[KeyClass.SD]], []), 422),
        (cpix.request(TITLE, [NAMES[KeyClass.SD], key_name(TITLE, Scheme.CENC, KeyClass.SD)], []), 422),
        (b" " * ((1 << 20) + 1), 413),
    ],
)
def test_a_provider_refuses_malformed_requests(tmp_path: Path, body: bytes, status: int) -> None:
    path = tmp_path / "dev.keys"
    provider = LicenceSettings(open_keys(str(path)), None, speke=Provider(path, signals_for).answer)
    [(found, _, _)] = answers(provider, ("POST", "/speke", body))
    assert found == status
    assert not path.exists()


class Source:
    """A source of keys that counts requests, and may be unreachable."""

    url = "source"

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._keys = open_keys(str(path))

    def keys(self, title: str, names: Any) -> Any:
        self.asked.append(tuple(name.kid for name in names))
        return self._keys.keys(title, names)


@contextmanager
def cached(key_file: Path) -> Iterator[tuple[Source, KeyCache, list[float]]]:
    source, clock = Source(key_file), [0.0]
    yield source, KeyCache(source, clock=lambda: clock[0]), clock


def test_the_source_is_asked_once_a_minute_for_each_key_even_a_missing_one(key_file: Path) -> None:
    lacking = key_name("film", Scheme.CENC, KeyClass.SD)
    names: list[KeyName] = [NAMES[KeyClass.SD], lacking]
    with cached(key_file) as (source, cache, clock):
        for _ in range(3):
            found = asyncio.run(cache.secrets("film", names))
            assert found == {names[0].kid: SECRETS[names[0].kid]}
        assert len(source.asked) == 3  # both, and each alone
        clock[0] = 61.0
        asyncio.run(cache.secrets("film", names))
        assert len(source.asked) == 6


def test_an_unreachable_source_is_a_fault_of_the_service_and_not_of_the_token(
    settings: LicenceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headend.core.errors import StoreUnavailable

    def away(*_: Any) -> Any:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(type(settings.source), "keys", away)
    [(status, body, _)] = answers(
        settings, ("POST", f"/t/{token()}/film/licence", licence_request(NAMES[KeyClass.SD].kid))
    )
    assert (status, json.loads(body)) == (503, {"error": "service unavailable"})
