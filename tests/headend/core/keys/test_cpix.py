import base64
from pathlib import Path

import cpix as judge
import pytest
from lxml import etree

from headend.core.errors import ConfigError
from headend.core.keys import cpix
from headend.core.media.protection import Scheme
from tests.headend.core.keys.makers import make_certificate, make_keys, make_names

WIDEVINE = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"


def judged(data: bytes) -> None:
    """Validate a document; the library's schema is older than the scheme's attribute."""
    root = etree.fromstring(data)
    for element in root.iter("{*}ContentKey"):
        element.attrib.pop("commonEncryptionScheme", None)
    judge.CPIX_SCHEMA.assertValid(root)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_written_document_is_valid_and_round_trips(sealed: bool, tmp_path: Path) -> None:
    public, private = make_certificate(tmp_path) if sealed else (None, None)
    keys = make_keys()
    data = cpix.write("film", make_names(), keys, public)
    judged(data)
    found = cpix.read(data, "document", private_key=private)
    assert found.content == "film"
    assert dict(found.keys) == {kid: key.secret for kid, key in keys.items()}
    assert set(found.schemes.values()) == {Scheme.CBCS}
    assert dict(found.ivs) == {name.kid: name.iv for name in make_names()}
    if sealed:
        for key in keys.values():
            assert base64.b64encode(key.secret) not in data and key.secret.hex().encode() not in data


def test_another_reader_finds_the_same_keys() -> None:
    found = judge.parse(cpix.write("film", make_names(), make_keys()))
    secrets = {key.kid.hex: base64.b64decode(key.cek) for key in found.content_keys}
    assert secrets == {kid: key.secret for kid, key in make_keys().items()}


def test_a_request_names_keys_and_systems_and_has_no_secret() -> None:
    data = cpix.request("film", make_names(), [WIDEVINE])
    judged(data)
    found = cpix.read(data, "request")
    assert (dict(found.keys), set(found.schemes)) == ({}, {name.kid for name in make_names()})
    assert {signal.system for signal in found.signals} == {WIDEVINE}


def test_a_changed_key_is_noticed(tmp_path: Path) -> None:
    public, private = make_certificate(tmp_path)
    root = etree.fromstring(cpix.write("film", make_names(), make_keys(), public))
    value = root.find(".//{*}ContentKey//{*}CipherValue")
    assert value is not None and value.text
    changed = bytearray(base64.b64decode(value.text))
    changed[20] ^= 1
    value.text = base64.b64encode(changed).decode()
    with pytest.raises(ConfigError, match="MAC is wrong"):
        cpix.read(etree.tostring(root), "document", private_key=private)


def test_a_document_for_another_recipient_can_not_be_decrypted(tmp_path: Path) -> None:
    public, _ = make_certificate(tmp_path)
    data = cpix.write("film", make_names(), make_keys(), public)
    with pytest.raises(ConfigError, match="--cpix-key"):
        cpix.read(data, "document")
    other = tmp_path / "other"
    other.mkdir()
    _, private = make_certificate(other)
    with pytest.raises(ConfigError, match="another recipient"):
        cpix.read(data, "document", private_key=private)


def test_a_certificate_that_has_expired_is_not_used(tmp_path: Path) -> None:
    public, _ = make_certificate(tmp_path, expired=True)
    with pytest.raises(ConfigError, match="expired on"):
        cpix.write("film", make_names(), make_keys(), public)


BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
NESTED = b"<a>" * 50_000 + b"</a>" * 50_000


@pytest.mark.parametrize("data", [b"", b"<", b"<x/>", BOMB, OUTSIDE, NESTED, b"x" * (10 << 20)])
def test_hostile_xml_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        cpix.read(data, "document")
    assert "\n" not in str(caught.value) and "root:" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('commonEncryptionScheme="cbcs"', 'commonEncryptionScheme="cens"', "neither cenc nor cbcs"),
        (base64.b64encode(b"\x01" * 16).decode(), "AAAA", "has 3 bytes instead of 16"),
        (base64.b64encode(b"\x01" * 16).decode(), "§", "is not base64"),
    ],
)
def test_a_malformed_key_is_refused(old: str, new: str, message: str) -> None:
    text = cpix.write("film", make_names(), make_keys()).decode()
    with pytest.raises(ConfigError, match=message):
        cpix.read(text.replace(old, new, 1).encode(), "document")
