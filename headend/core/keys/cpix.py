"""Reads and writes CPIX documents: keys and their DRM signalling as XML, with or without encryption of the keys.

Source: DASH-IF CPIX 2.3, sections 4 to 6; SPEKE v2.
"""

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from headend.core.errors import ConfigError
from headend.core.keys.base import KEY_BYTES, ContentKey
from headend.core.keys.cpix_encryption import Decrypter, Encrypter
from headend.core.keys.cpix_xml import NAMESPACES, decode, element, parse
from headend.core.media.protection import (
    HD_PIXELS,
    SD_PIXELS,
    KeyClass,
    KeyName,
    Scheme,
    Signal,
    check_kid,
)

_TRACK_TYPES = {
    KeyClass.AUDIO: "AUDIO",
    KeyClass.SD: "SD",
    KeyClass.HD: "HD",
    KeyClass.UHD: "UHD",
    KeyClass.ALL: "ALL",
}
"""SPEKE v2, intendedTrackType."""


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a CPIX document.

    Attributes:
        keys: Secrets by key id; empty in a request for keys.
        schemes: Schemes by key id, of keys that state one.
        ivs: Constant initialisation vectors by key id, as hexadecimal digits.
        signals: DRM signalling for manifests.
        content: The title; empty if the document does not state it.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    ivs: Mapping[str, str] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    content: str = ""


def read(data: bytes, place: str, *, private_key: Path | None = None) -> Document:
    """Read a document.

    Args:
        data: The document.
        place: Where it comes from, for errors.
        private_key: PEM file with the recipient's private key, for encrypted documents.

    Raises:
        ConfigError: It is too large, not XML, has a DTD or entities, is not CPIX, has an invalid key or the same key
            twice, or is encrypted for another recipient.
    """
    root = parse(data, place)
    decrypter = Decrypter(root, place, private_key)
    keys: dict[str, bytes] = {}
    schemes: dict[str, Scheme] = {}
    ivs: dict[str, str] = {}
    seen: set[str] = set()
    for key in root.iterfind("ContentKeyList/ContentKey", NAMESPACES):
        kid = _kid(key, place)
        if kid in seen:
            raise ConfigError(f"{place}: the key {kid} occurs twice", kid=kid)
        seen.add(kid)
        if (scheme := key.get("commonEncryptionScheme")) is not None:
            if scheme not in (Scheme.CENC, Scheme.CBCS):
                raise ConfigError(f"{place}: the key {kid} is for {scheme[:16]!r}, which is neither cenc nor cbcs")
            schemes[kid] = Scheme(scheme)
        if (iv := key.get("explicitIV")) is not None:
            ivs[kid] = _sixteen(decode(iv, place), f"{place}: the explicitIV of {kid}").hex()
        secret = decrypter.secret(key)
        if secret is not None:
            keys[kid] = _sixteen(secret, f"{place}: the key {kid}")
    return Document(keys, schemes, ivs, tuple(_signals(root, place)), root.get("contentId", ""))


def write(
    title: str, names: Sequence[KeyName], keys: Mapping[str, ContentKey] | None, certificate: Path | None = None
) -> bytes:
    """Write a document.

    Args:
        title: The content's id.
        names: The keys to describe.
        keys: Their secrets; None writes a request, which has none.
        certificate: PEM file with the recipient's certificate; None leaves the secrets unencrypted.

    Raises:
        ConfigError: The certificate can't be read, has expired, or has no RSA key.
    """
    root = element(None, "CPIX", contentId=title, version="2.3")
    encrypter = Encrypter(root, certificate) if certificate is not None and keys is not None else None
    key_list = element(root, "ContentKeyList")
    for name in names:
        key = element(key_list, "ContentKey", kid=name.uuid)
        if name.scheme is not Scheme.AES_128:
            key.set("commonEncryptionScheme", name.scheme)
        if name.iv:
            key.set("explicitIV", base64.b64encode(bytes.fromhex(name.iv)).decode())
        if keys is not None:
            secret = element(element(key, "Data"), "pskc:Secret")
            if encrypter is None:
                element(secret, "pskc:PlainValue").text = base64.b64encode(keys[name.kid].secret).decode()
            else:
                encrypter.write(secret, keys[name.kid].secret)
    rules = element(root, "ContentKeyUsageRuleList")
    for name in names:
        rule = element(rules, "ContentKeyUsageRule", kid=name.uuid, intendedTrackType=_TRACK_TYPES[name.key_class])
        _filter(rule, name.key_class)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def request(title: str, names: Sequence[KeyName], systems: Iterable[str]) -> bytes:
    """Write a SPEKE v2 request for keys and the signalling of DRM systems."""
    root = parse(write(title, names, None), "request")
    drm_systems = element(None, "DRMSystemList")
    for system in systems:
        for name in names:
            drm = element(drm_systems, "DRMSystem", kid=name.uuid, systemId=system)
            element(drm, "PSSH")
            element(drm, "ContentProtectionData")
            element(drm, "HLSSignalingData", playlist="media")
            element(drm, "HLSSignalingData", playlist="master")
    root.insert(1, drm_systems)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """The content of a request for keys.

    Attributes:
        title: The content's id.
        names: The requested keys.
        systems: UUIDs of the DRM systems whose signalling is requested, in lower case.
    """

    title: str
    names: tuple[KeyName, ...]
    systems: tuple[str, ...]


def read_request(data: bytes, place: str, *, max_keys: int) -> KeyRequest:
    """Read a request for keys, as written by `request`.

    Args:
        data: The document.
        place: Where it comes from, for errors.
        max_keys: Maximum number of keys that it may request.

    Raises:
        ConfigError: It is not such a request, mixes schemes, requests too many keys, or the same key twice.
    """
    root = parse(data, place)
    classes = {key.get("kid", ""): key.get("intendedTrackType", "") for key in _rules(root)}
    by_type = {text: key_class for key_class, text in _TRACK_TYPES.items()}
    names: dict[str, KeyName] = {}
    for key in root.iterfind("ContentKeyList/ContentKey", NAMESPACES):
        kid, scheme = _kid(key, place), key.get("commonEncryptionScheme", Scheme.AES_128)
        if kid in names or len(names) >= max_keys:
            raise ConfigError(f"{place} requests more than {max_keys} keys, or the same key twice", kid=kid)
        if scheme not in list(Scheme):
            raise ConfigError(f"{place} requests a key with an unknown scheme: use {', '.join(Scheme)}", kid=kid)
        iv = _sixteen(decode(key.get("explicitIV"), place), "an IV").hex() if key.get("explicitIV") else ""
        key_class = by_type.get(classes.get(key.get("kid", ""), ""), KeyClass.ALL)
        names[kid] = KeyName(kid, Scheme(scheme), key_class, iv=iv)
    if not names:
        raise ConfigError(f"{place} requests no keys; list at least one ContentKey")
    if len({name.scheme for name in names.values()}) > 1:
        raise ConfigError(f"{place} mixes schemes: request the keys of each scheme separately")
    drm_systems = root.iterfind("DRMSystemList/DRMSystem", NAMESPACES)
    systems = dict.fromkeys(drm.get("systemId", "").lower() for drm in drm_systems)
    return KeyRequest(root.get("contentId", ""), tuple(names.values()), tuple(systems))


def response(key_request: KeyRequest, keys: Mapping[str, ContentKey], signals: Iterable[Signal]) -> bytes:
    """Write the response to a request: the unencrypted keys, and the DRM signalling for manifests."""
    root = parse(write(key_request.title, key_request.names, keys), "response")
    drm_systems = element(None, "DRMSystemList")
    for signal in signals:
        drm = element(drm_systems, "DRMSystem", kid=str(uuid.UUID(signal.kid)), systemId=signal.system)
        if signal.pssh:
            element(drm, "PSSH").text = signal.pssh
        line = f'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="{signal.hls_uri}",KEYFORMAT="{signal.hls_keyformat}"'
        if signal.hls_uri:
            element(drm, "HLSSignalingData", playlist="media").text = base64.b64encode(line.encode()).decode()
    root.insert(1, drm_systems)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _rules(root: Any) -> Iterable[Any]:
    return root.iterfind("ContentKeyUsageRuleList/ContentKeyUsageRule", NAMESPACES)  # type: ignore[no-any-return]


def _signals(root: Any, place: str) -> Iterable[Signal]:
    for drm in root.iterfind("DRMSystemList/DRMSystem", NAMESPACES):
        system = drm.get("systemId", "").lower()
        try:
            check_kid(system)
        except ValueError:
            raise ConfigError(f"{place}: a DRMSystem's systemId is not a UUID") from None
        pssh = "".join((drm.findtext("PSSH", "", NAMESPACES) or "").split())
        if pssh and not _is_pssh(decode(pssh, place)):
            raise ConfigError(f"{place}: a PSSH element does not hold a pssh box")
        uri = keyformat = ""
        for data in drm.iterfind("HLSSignalingData", NAMESPACES):
            text = decode(data.text or "", place).decode("utf-8", "replace")
            if data.get("playlist", "media") == "media" and text:
                uri, keyformat = _attribute(text, "URI"), _attribute(text, "KEYFORMAT")
        yield Signal(system, _kid(drm, place), pssh, uri, keyformat)


def _is_pssh(box: bytes) -> bool:
    """Whether this is exactly one ``pssh`` box with consistent lengths (ISO/IEC 23001-7, section 8.1.1)."""
    if len(box) < 32 or int.from_bytes(box[:4]) != len(box) or box[4:8] != b"pssh" or box[8] > 1:
        return False
    offset = 28 + (4 + 16 * int.from_bytes(box[28:32]) if box[8] else 0)
    return offset + 4 <= len(box) and offset + 4 + int.from_bytes(box[offset : offset + 4]) == len(box)


def _attribute(line: str, name: str) -> str:
    """The value of an attribute in a ``#EXT-X-KEY`` line; empty if it has none."""
    _, prefix, rest = line.partition(f'{name}="')
    value = rest.partition('"')[0] if prefix else ""
    return value if value.isprintable() else ""


def _kid(key: Any, place: str) -> str:
    try:
        return check_kid(key.get("kid", ""))
    except ValueError:
        raise ConfigError(f"{place}: a key's id is not a UUID") from None


def _sixteen(value: bytes, what: str) -> bytes:
    if len(value) != KEY_BYTES:
        raise ConfigError(f"{what} has {len(value)} bytes instead of {KEY_BYTES}")
    return value


def _filter(rule: Any, key_class: KeyClass) -> None:
    """Write the filter of a key class, as in SPEKE v2's PRESET-VIDEO-3 and PRESET-AUDIO-1."""
    if key_class is KeyClass.AUDIO:
        element(rule, "AudioFilter")
    elif key_class is KeyClass.SD:
        element(rule, "VideoFilter", maxPixels=str(SD_PIXELS))
    elif key_class is KeyClass.HD:
        element(rule, "VideoFilter", minPixels=str(SD_PIXELS + 1), maxPixels=str(HD_PIXELS))
    elif key_class is KeyClass.UHD:
        element(rule, "VideoFilter", minPixels=str(HD_PIXELS + 1))
    else:
        element(rule, "VideoFilter")
        element(rule, "AudioFilter")
