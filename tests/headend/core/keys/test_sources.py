"""One contract for every source of keys."""

import contextlib
import hashlib
import hmac
import pickle
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.keys import KeyStore, lines, open_keys, speke
from headend.core.keys import cpix as cpix_documents
from headend.core.keys.base import ContentKey
from headend.core.media.protection import Scheme, key_name
from tests.headend.core.keys.makers import make_certificate, make_keys, make_names

Answer = Callable[[bytes], tuple[int, bytes]]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speke, "BACKOFF", 0.01)


@contextmanager
def speke_server(
    answer: Answer,
    *,
    context: ssl.SSLContext | None = None,
    asked: list[tuple[dict[str, str], bytes]] | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            if asked is not None:
                asked.append(({name.lower(): value for name, value in self.headers.items()}, request))
            status, body = answer(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may have read enough
                self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"speke+http{'s' if context else ''}://127.0.0.1:{server.server_port}/speke"
    finally:
        server.shutdown()
        server.server_close()


def honest(keys: dict[str, ContentKey]) -> Answer:
    """Return a server that returns the requested keys if it has them."""

    def answer(body: bytes) -> tuple[int, bytes]:
        asked = cpix_documents.read(body, "request")
        named = [keys[kid].name for kid in asked.schemes]
        return 200, cpix_documents.write(asked.content, named, keys)

    return answer


@pytest.fixture(params=["file", "environment", "cpix", "encrypted cpix", "speke"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyStore]:
    keys = make_keys()
    path = tmp_path / "keys"
    if request.param == "file":
        path.write_text(lines.write(keys.values()))
        path.chmod(0o600)
        yield open_keys(str(path))
    elif request.param == "environment":
        monkeypatch.setenv("FILM_KEYS", lines.write(keys.values()))
        yield open_keys("env:FILM_KEYS")
    elif request.param == "cpix":
        path.write_bytes(cpix_documents.write("film", make_names(), keys))
        path.chmod(0o600)
        yield open_keys(f"cpix:{path}")
    elif request.param == "encrypted cpix":
        public, private = make_certificate(tmp_path)
        path.write_bytes(cpix_documents.write("film", make_names(), keys, public))
        yield open_keys(f"cpix:{path}", private_key=str(private))
    else:
        with speke_server(honest(keys)) as address:
            yield open_keys(address)


def test_every_source_gives_the_keys_that_are_named(source: KeyStore) -> None:
    found = source.keys("film", make_names())
    assert {kid: key.secret for kid, key in found.items()} == {kid: key.secret for kid, key in make_keys().items()}
    assert {kid: key.name for kid, key in found.items()} == {name.kid: name for name in make_names()}


def test_a_missing_key_is_named_by_its_source(source: KeyStore) -> None:
    missing = key_name("another", Scheme.CBCS, make_names()[0].key_class)
    with pytest.raises((ConfigError, StorageError)) as caught:
        source.keys("film", [missing])
    assert (
        missing.kid in str(caught.value) or "answers 500" in str(caught.value) or "does not answer" in str(caught.value)
    )


def test_no_secret_can_be_shown_or_pickled(source: KeyStore) -> None:
    for key in source.keys("film", make_names()).values():
        assert key.secret.hex() not in repr(key) + str(key) + repr(source)
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(key)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(lines.write(make_keys().values()))
    for mode in (0o640, 0o604, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            open_keys(str(path)).keys("film", make_names())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "line 1 is not 'kid scheme class iv secret'"),
        ("zz cbcs sd - " + "00" * 16, "the first word is not a key's id"),
        ("00" * 16 + " cbc1 sd - " + "00" * 16, "the scheme is none of"),
        ("00" * 16 + " cbcs 8k - " + "00" * 16, "the class is none of"),
        ("00" * 16 + " cbcs sd - " + "00" * 15, "the secret has 15 bytes instead of 16"),
        ("00" * 16 + " cbcs sd - " + "0g" * 16, "the secret is not hexadecimal"),
        ("00" * 16 + " cbcs sd 00 " + "00" * 16, "the iv has 1 bytes instead of 16"),
    ],
)
def test_the_error_for_a_wrong_line_names_its_number_and_not_its_content(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        lines.read(line, "keys")
    assert "00" * 15 not in str(caught.value)


def test_a_duplicate_key_is_refused() -> None:
    text = lines.write(make_keys().values())
    with pytest.raises(ConfigError, match=r"line 5: the key .* occurs twice"):
        lines.read(text + text, "keys")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"no", ConfigError),
        (422, b"no", StorageError),
        (503, b"no", StoreUnavailable),
        (200, b"<html>hello</html>", ConfigError),
        (200, b"<html>", ConfigError),
        (200, b"x" * (2 << 20), ConfigError),
    ],
)
def test_an_unexpected_response_is_reported_in_one_line(status: int, body: bytes, kind: type[Exception]) -> None:
    with speke_server(lambda _body: (status, body)) as address, pytest.raises(kind) as caught:
        open_keys(address).keys("film", make_names())
    assert "\n" not in str(caught.value)


def test_other_keys_than_the_requested_ones_are_refused() -> None:
    more = {**make_keys(), **make_keys(Scheme.CENC)}
    everything = cpix_documents.write("film", [key.name for key in more.values()], more)
    with speke_server(lambda _body: (200, everything)) as address, pytest.raises(ConfigError, match="not requested"):
        open_keys(address).keys("film", make_names())


@pytest.mark.parametrize("address", ["speke+http://example.test/x", "speke+https://user:pw@example.test/x", "s3://x"])
def test_keys_are_not_requested_over_plain_http(address: str) -> None:
    with pytest.raises(ConfigError):
        open_keys(address)


def test_an_unreachable_server_is_a_temporary_fault() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        open_keys("speke+http://127.0.0.1:9/x").keys("film", make_names())


def test_a_response_that_trickles_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speke, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"<")
                    except OSError:
                        return

        threading.Thread(target=trickle, daemon=True).start()
        try:
            with pytest.raises(StoreUnavailable, match="to answer: try again later"):
                open_keys(f"speke+http://127.0.0.1:{listener.getsockname()[1]}/x").keys("film", make_names())
        finally:
            stop.set()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({speke.TOKEN: "abc"}, "Bearer abc"),
        ({speke.USER: "me", speke.PASSWORD: "pw"}, "Basic bWU6cHc="),
        ({}, None),
    ],
)
def test_credentials_come_from_the_environment(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked: list[tuple[dict[str, str], bytes]] = []
    with speke_server(honest(make_keys()), asked=asked) as address:
        open_keys(address).keys("film", make_names())
    assert {headers.get("authorization") for headers, _ in asked} == {expected}


def test_a_gateway_of_aws_gets_a_signature_that_it_can_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute the signature as AWS documents it, from the request that the server received."""
    for name, value in {
        speke.AWS_REGION: "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    asked: list[tuple[dict[str, str], bytes]] = []
    with speke_server(honest(make_keys()), asked=asked) as address:
        open_keys(address).keys("film", make_names())
    [(headers, body)] = asked
    words = dict(word.split("=", 1) for word in headers["authorization"].partition(" ")[2].split(", "))
    names = words["SignedHeaders"].split(";")
    assert {"content-type", "host", "x-amz-date"} <= set(names)
    listed = "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical = f"POST\n/speke\n\n{listed}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}"
    _, day, region, service, last = words["Credential"].split("/")
    assert (region, service, last) == ("eu-west-1", "execute-api", "aws4_request")
    key = b"AWS4not-a-secret"
    for word in (day, region, service, last):
        key = hmac.digest(key, word.encode(), "sha256")
    scope = f"{day}/{region}/{service}/{last}"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert words["Signature"] == hmac.digest(key, text.encode(), "sha256").hex()


def test_a_server_may_want_a_client_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, private = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    context.load_verify_locations(public)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    monkeypatch.setattr(speke, "ATTEMPTS", 1)
    with speke_server(honest(make_keys()), context=context) as address:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            open_keys(address).keys("film", make_names())
        monkeypatch.setenv(speke.CERTIFICATE, str(public))
        monkeypatch.setenv(speke.CERTIFICATE_KEY, str(private))
        assert set(open_keys(address).keys("film", make_names())) == set(make_keys())
    monkeypatch.setenv(speke.CERTIFICATE, str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"none\.pem.*can't be used"):
        open_keys("speke+https://127.0.0.1:9/x").keys("film", make_names())
