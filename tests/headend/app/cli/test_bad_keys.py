"""Wrong, hostile or unreachable sources of keys: one line each, a documented exit status, and no secret."""

import base64
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headend.app.cli import run
from headend.core.keys import cpix, lines, speke
from headend.core.media import Scheme
from tests.headend.core.keys.makers import make_certificate, make_keys, make_names
from tests.headend.core.keys.test_sources import Answer, speke_server
from tests.support.canaries import forms

GOOD = cpix.write("film", make_names(), make_keys()).decode()
SECRET = make_keys()[make_names()[0].kid].secret
XML = '<?xml version="1.0"?>'
EMPTY = '<CPIX xmlns="urn:dashif:org:cpix"><ContentKeyList>{}</ContentKeyList></CPIX>'
PSSH = base64.b64encode(b"\0\0\0\x20pssh\1" + bytes(19) + b"\xff" * 4).decode()


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def drm(pssh: str) -> str:
    system = f'<DRMSystem kid="{make_names()[0].uuid}" systemId="edef8ba9-79d6-4ace-a3c8-27dcd51d21ed">'
    return changed("</ContentKeyList>", f"</ContentKeyList><DRMSystemList>{system}<PSSH>{pssh}</PSSH></DRMSystem>"
                   "</DRMSystemList>")  # fmt: skip


DOCUMENTS = {
    "nothing": ("", "is not XML that can be read"),
    "html": ("<html><body>Sign in</body></html>", "is not a CPIX document"),
    "an unknown encoding": ('<?xml version="1.0" encoding="foo"?><x/>', "is not XML that can be read: LookupError"),
    "an encoding of no text": ('<?xml version="1.0" encoding="hex"?><x/>', "is not XML that can be read"),
    "an entity": (f'{XML}<!DOCTYPE x [<!ENTITY a "b">]>{EMPTY.format("&a;")}', "is not XML that can be read"),
    "an external entity": (
        f'{XML}<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>{EMPTY.format("&a;")}',
        "is not XML that can be read",
    ),
    "a DTD from elsewhere": (f'{XML}<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">{EMPTY}', "is not XML"),
    "a large one": (EMPTY.format(" " * (2 << 20)), "has more than 1 MiB"),
    "ten megabytes": (EMPTY.format(" " * (10 << 20)), "has more than 1 MiB"),
    "a deep one": (EMPTY.format("<a>" * 100_000 + "</a>" * 100_000), "has no key"),
    "another namespace": (changed("urn:dashif:org:cpix", "urn:dashif:org:cpix:3"), "is not a CPIX document"),
    "secrets of another namespace": (changed("keyprov:pskc", "keyprov:pskd"), "has no key"),
    "a key twice": (
        changed("<ContentKeyList>", f'<ContentKeyList><ContentKey kid="{make_names()[1].uuid}"/>'),
        "occurs twice",
    ),
    "no UUID": (changed(make_names()[0].uuid, "1_" * 16), "a key's id is not a UUID"),
    "half a key": (
        changed(base64.b64encode(SECRET).decode(), base64.b64encode(SECRET[:8]).decode()),
        "has 8 bytes instead of 16",
    ),
    "no base64": (changed(base64.b64encode(SECRET).decode(), "*" * 24), "a value is not base64"),
    "no base64, and not ASCII": (changed(base64.b64encode(SECRET).decode(), "ü" * 24), "a value is not base64"),
    "another title": (changed('contentId="film"', 'contentId="other\n\x85film"'), "has the keys of 'other"),
    "mixed schemes": (GOOD.replace('="cbcs"', '="cenc"', 1), "for cenc, not for cbcs"),
    "a pssh that is too short": (drm("AAAA"), "a PSSH element does not hold a pssh box"),
    "a pssh of four thousand million keys": (drm(PSSH), "a PSSH element does not hold a pssh box"),
    "two pssh boxes": (drm(PSSH + PSSH), "a value is not base64|does not hold a pssh box"),
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    monkeypatch.setattr(speke, "BACKOFF", 0.01)


def refused(capsys: pytest.CaptureFixture[str], source: str | Path, *more: str) -> tuple[int, str]:
    """Exit status and output when keys are read from a source."""
    capsys.readouterr()
    status = run(["keys", "export", "film", "--plain", "--verbose", "--keys", str(source), *more])
    output = capsys.readouterr()
    assert output.out == ""
    line = output.err.strip().splitlines()[0]
    assert "Traceback" not in output.err
    for key in make_keys().values():
        assert not any(form in (output.out + output.err).encode() for form in forms(key.secret))
    return status, line


@pytest.mark.parametrize(("text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_malformed_documents_are_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.cpix"
    path.touch(0o600)
    path.write_text(text)
    status, line = refused(capsys, f"cpix:{path}")
    assert status == 2
    assert any(one in line for one in message.split("|")), line


def test_documents_are_read_in_linear_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The largest accepted input of each kind; superlinear parsing would take minutes."""
    started_s = time.process_time()
    path = tmp_path / "film.cpix"
    path.touch(0o600)
    for text in (
        EMPTY.format("".join(f'<ContentKey kid="{n:032x}"/>' for n in range(20_000))),
        EMPTY.replace("<CPIX ", "<CPIX " + " ".join(f'a{n}=""' for n in range(80_000)) + " "),
        EMPTY.replace("<CPIX ", "<CPIX " + " ".join(f'xmlns:a{n}="u"' for n in range(40_000)) + " "),
        EMPTY.format("<a>" * 140_000 + "</a>" * 140_000),
        EMPTY.format("&#65;" * 180_000),
    ):
        assert len(text) < 1 << 20
        path.write_text(text)
        assert "has no key" in refused(capsys, f"cpix:{path}")[1]
    assert time.process_time() - started_s < 60


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


PATHS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "can't be read: No such file"),
    "a folder": (lambda path: path.mkdir(), "can't be read: Is a directory"),
    "a pipe": (fifo, "is not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "of no text": (lambda path: path.write_bytes(b"\xff\xfe" * 100), "is not text"),
    "too large": (lambda path: path.write_bytes(b"#" * (5 << 20)), "is larger than 4 MiB"),
    "of one long line": (
        lambda path: path.write_bytes(b"a " * (1 << 20)),
        "line 1 is not 'kid scheme class iv secret'",
    ),
    "for others to read": (lambda path: (path.touch(), path.chmod(0o640)), "chmod 600"),
}


@pytest.mark.parametrize("prefix", ["", "cpix:"])
@pytest.mark.parametrize(("make", "message"), PATHS.values(), ids=PATHS)
def test_malformed_files_are_refused(
    prefix: str, make: Callable[[Path], object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    make(path)
    if path.is_file() and "chmod" not in message:
        path.chmod(0o600)
    status, line = refused(capsys, f"{prefix}{path}")
    assert status == 2
    assert message in line or (prefix and ("is not XML" in line or "has more than" in line)), line


def test_a_file_from_windows_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_bytes(b"\xef\xbb\xbf" + lines.write(make_keys().values()).replace("\n", "\r\n").encode())
    assert run(["keys", "check", "film", "--keys", str(path)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "keys come from a file"),
        ("env:", "is not a key source"),
        ("cpix:", "is not a key source"),
        ("env:NOT_SET_ANYWHERE", "is not set"),
        ("https://keys.example/x", "keys come from a file"),
        ("speke+", "over https:// only"),
        ("speke+http://keys.example/x", "over https:// only"),
        ("speke+http://127.0.0.1.keys.example/x", "over https:// only"),
        ("speke+https://me:secret@keys.example/x", "must not contain a password"),
        ("speke+https://", "is not a URL"),
        ("speke+https:///x", "is not a URL"),
        ("speke+https://[bad/x", "is not a URL"),
        ("speke+https://keys.example:99999/x", "is not a URL"),
        ("speke+https://ex ample/x", "is not a URL"),
        ("speke+https://keys.example/x\r\nHost: other", "is not a URL"),
    ],
)
def test_malformed_addresses_are_refused(address: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = refused(capsys, address)
    assert (status, message in line) == (2, True), line
    assert "secret@" not in line


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({speke.TOKEN: "abc\ncanary"}, f"{speke.TOKEN} has characters"),
        ({speke.TOKEN: "canary\N{SNOWMAN}"}, f"{speke.TOKEN} has characters"),
        ({speke.USER: "me", speke.PASSWORD: "canary\udcff"}, f"{speke.PASSWORD} has characters"),
        ({speke.USER: "canary\rme", speke.PASSWORD: "pw"}, f"{speke.USER} has characters"),
        ({"FILM_KEYS": "canary\udcff " * 5}, "the first word is not a key's id"),
    ],
)
def test_malformed_credentials_are_not_shown(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status, line = refused(capsys, "env:FILM_KEYS" if "FILM_KEYS" in variables else "speke+http://127.0.0.1:9/x")
    assert (status, message in line, "canary" in line) == (2, True, False), line


def of_others(_: bytes) -> tuple[int, bytes]:
    return 200, cpix.write("film", make_names(title="other"), make_keys(title="other"))


def in_cenc(_: bytes) -> tuple[int, bytes]:
    return 200, GOOD.replace('="cbcs"', '="cenc"').encode()


def without_one(_: bytes) -> tuple[int, bytes]:
    keys = make_keys()
    return 200, cpix.write("film", make_names()[1:], keys)


ANSWERS: dict[str, tuple[Answer, dict[str, str], int, str]] = {
    "a redirect": (lambda _: (302, b""), {"Location": "http://127.0.0.1:9/"}, 2, "redirects are not followed"),
    "a redirect that keeps the method": (lambda _: (307, b""), {"Location": "/speke"}, 2, "redirects are not followed"),
    "busy for a day": (lambda _: (503, b""), {"Retry-After": "86400"}, 5, "answers 503: try again later"),
    "too many requests": (lambda _: (429, b""), {"Retry-After": "86400"}, 5, "answers 429: try again later"),
    "refused": (lambda _: (401, b"<p>who are you"), {}, 2, "check HEADEND_SPEKE_TOKEN"),
    "not taken": (lambda _: (422, b"no"), {}, 5, "rejects the request"),
    "a page": (lambda _: (200, b"<html><p>Sign in"), {}, 2, "is not XML"),
    "nothing": (lambda _: (204, b""), {}, 5, "answers 204"),
    "ten megabytes": (lambda _: (200, b" " * (10 << 20)), {}, 2, "has more than 1 MiB"),
    "said to be compressed": (lambda _: (200, b"no"), {"Content-Encoding": "gzip"}, 5, "does not answer"),
    "keys of others": (of_others, {}, 2, "which was not requested"),
    "another scheme": (in_cenc, {}, 2, "for cenc instead of cbcs"),
    "a key less": (without_one, {}, 2, "has no key"),
}


@pytest.mark.parametrize(("answer", "headers", "wanted", "message"), ANSWERS.values(), ids=ANSWERS)
def test_malformed_answers_are_refused(
    answer: Answer,
    headers: dict[str, str],
    wanted: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(speke.TOKEN, "canary")
    asked: list[tuple[dict[str, str], bytes]] = []
    with speke_server(answer, asked=asked, headers=headers) as address:
        status, line = refused(capsys, address)
    assert (status, message in line, "canary" in line) == (wanted, True, False), line
    assert len(asked) == (speke.ATTEMPTS if "try again" in message else 1)


def test_malformed_certificates_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, public = tmp_path / "keys", make_certificate(tmp_path)[0]
    keys.touch(0o600)
    keys.write_text(lines.write(make_keys().values()))
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    fifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none.pem", "can't be read: No such file"),
        (broken, "is not a readable PEM certificate"),
        (keys, "is not a readable PEM certificate"),
        (tmp_path / "pipe", "is not a regular file"),
        (make_certificate(tmp_path, expired=True)[0], "expired on"),
    ):
        assert run(["keys", "export", "film", "--keys", str(keys), "--for", str(path)]) == 2
        output = capsys.readouterr()
        assert (output.out, message in output.err) == ("", True), output.err
    sealed = tmp_path / "sealed.cpix"
    public = make_certificate(tmp_path)[0]
    sealed.write_bytes(cpix.write("film", make_names(), make_keys(), public))
    for path, message in (
        (public, "chmod 600"),
        (keys, "is not a PEM private key"),
        (tmp_path / "pipe", "is not a regular file"),
    ):
        status, line = refused(capsys, f"cpix:{sealed}", "--cpix-key", str(path))
        assert (status, message in line) == (2, True), line


def test_a_key_for_another_scheme_is_missing_and_a_source_that_fails_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text(lines.write(make_keys().values()))
    assert run(["keys", "check", "film", "--keys", str(path), "--scheme", Scheme.CENC]) == 1
    with speke_server(lambda _: (503, b"")) as address:
        assert run(["keys", "check", "film", "--keys", address]) == 5
    assert run(["keys", "check", "film", "--keys", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("can't be read") == 1
