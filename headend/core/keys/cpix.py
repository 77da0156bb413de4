"""CPIX documents: keys and their signalling as XML, in the clear or encrypted for a recipient.

A document key (AES-256) is encrypted by RSA-OAEP for the recipient's certificate; content keys are encrypted by
AES-256-CBC under it and carry an HMAC-SHA512. `cryptography` is imported only when something is encrypted.

Source: DASH-IF CPIX 2.3, sections 4 to 6.
"""

import base64
import binascii
import hmac
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from headend.core.errors import ConfigError
from headend.core.keys.base import KEY_BYTES, ContentKey
from headend.core.keys.file import read_file, read_private
from headend.core.media.protection import (
    HD_PIXELS,
    SD_PIXELS,
    KeyClass,
    KeyName,
    Scheme,
    Signal,
    check_kid,
)

LARGEST = 1 << 20
"""Bytes of a document; a title's has a few thousand."""
_NS = {
    "": "urn:dashif:org:cpix",
    "pskc": "urn:ietf:params:xml:ns:keyprov:pskc",
    "enc": "http://www.w3.org/2001/04/xmlenc#",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
_AES = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
_RSA = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
_MAC = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"
_BLOCK_BYTES = 16
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
    """What a CPIX document holds.

    Attributes:
        keys: Secrets by key id; empty if the document only asks for keys.
        schemes: The scheme of each key that says one, by key id.
        ivs: The constant initialisation vectors that it gives, by key id, as hexadecimal digits.
        signals: What manifests say to DRM systems.
        content: The title it is about; empty if it does not say.
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
        place: Where it came from, for errors.
        private_key: PEM file with the recipient's private key, for encrypted documents.

    Raises:
        ConfigError: It is too large, not XML, has a DTD or entities, is no CPIX, holds a key that is none or one twice,
            or is encrypted for somebody else.
    """
    root = parse(data, place)
    opener = _Opener(root, place, private_key)
    keys: dict[str, bytes] = {}
    schemes: dict[str, Scheme] = {}
    ivs: dict[str, str] = {}
    seen: set[str] = set()
    for element in root.iterfind("ContentKeyList/ContentKey", _NS):
        kid = _kid(element, place)
        if kid in seen:
            raise ConfigError(f"{place}: the key {kid} stands there twice", kid=kid)
        seen.add(kid)
        if (scheme := element.get("commonEncryptionScheme")) is not None:
            if scheme not in (Scheme.CENC, Scheme.CBCS):
                raise ConfigError(f"{place}: the key {kid} is for {scheme[:16]!r}, which is neither cenc nor cbcs")
            schemes[kid] = Scheme(scheme)
        if (iv := element.get("explicitIV")) is not None:
            ivs[kid] = _sixteen(_decode(iv, place), f"{place}: the explicitIV of {kid}").hex()
        secret = opener.secret(element)
        if secret is not None:
            keys[kid] = _sixteen(secret, f"{place}: the key {kid}")
    return Document(keys, schemes, ivs, tuple(_signals(root, place)), root.get("contentId", ""))


def write(
    title: str, names: Sequence[KeyName], keys: Mapping[str, ContentKey] | None, certificate: Path | None = None
) -> bytes:
    """Write a document.

    Args:
        title: The content's id.
        names: The keys it is about.
        keys: Their secrets; None makes a request, which has none.
        certificate: PEM file with the recipient's certificate; None leaves secrets in the clear.

    Raises:
        ConfigError: The certificate can't be read, has expired, or has no RSA key.
    """
    root = _element(None, "CPIX", contentId=title, version="2.3")
    sealer = _Sealer(root, certificate) if certificate is not None and keys is not None else None
    listed = _element(root, "ContentKeyList")
    for name in names:
        element = _element(listed, "ContentKey", kid=name.uuid)
        if name.scheme is not Scheme.AES_128:
            element.set("commonEncryptionScheme", name.scheme)
        if name.iv:
            element.set("explicitIV", base64.b64encode(bytes.fromhex(name.iv)).decode())
        if keys is not None:
            secret = _element(_element(element, "Data"), "pskc:Secret")
            if sealer is None:
                _element(secret, "pskc:PlainValue").text = base64.b64encode(keys[name.kid].secret).decode()
            else:
                sealer.seal(secret, keys[name.kid].secret)
    rules = _element(root, "ContentKeyUsageRuleList")
    for name in names:
        rule = _element(rules, "ContentKeyUsageRule", kid=name.uuid, intendedTrackType=_TRACK_TYPES[name.key_class])
        _filter(rule, name.key_class)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def request(title: str, names: Sequence[KeyName], systems: Iterable[str]) -> bytes:
    """Write a request for keys with the signalling of DRM systems: SPEKE v2."""
    root = parse(write(title, names, None), "request")
    listed = _element(None, "DRMSystemList")
    for system in systems:
        for name in names:
            drm = _element(listed, "DRMSystem", kid=name.uuid, systemId=system)
            _element(drm, "PSSH")
            _element(drm, "ContentProtectionData")
            _element(drm, "HLSSignalingData", playlist="media")
            _element(drm, "HLSSignalingData", playlist="master")
    root.insert(1, listed)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a request asks for.

    Attributes:
        title: The content's id.
        names: The keys.
        systems: The DRM systems whose signalling is wanted: UUIDs in small letters.
    """

    title: str
    names: tuple[KeyName, ...]
    systems: tuple[str, ...]


def read_request(data: bytes, place: str, *, most_keys: int) -> KeyRequest:
    """Read a request for keys, as `request` writes it.

    Args:
        data: The document.
        place: Where it came from, for errors.
        most_keys: How many keys it may ask for.

    Raises:
        ConfigError: It is no such request, mixes schemes, asks for too many keys, or for one twice.
    """
    root = parse(data, place)
    classes = {element.get("kid", ""): element.get("intendedTrackType", "") for element in _rules(root)}
    by_type = {text: key_class for key_class, text in _TRACK_TYPES.items()}
    names: dict[str, KeyName] = {}
    for element in root.iterfind("ContentKeyList/ContentKey", _NS):
        kid, scheme = _kid(element, place), element.get("commonEncryptionScheme", Scheme.AES_128)
        if kid in names or len(names) >= most_keys:
            raise ConfigError(f"{place} asks for more than {most_keys} keys, or for one twice", kid=kid)
        if scheme not in list(Scheme):
            raise ConfigError(f"{place} asks for a key of a scheme that is none of {', '.join(Scheme)}", kid=kid)
        iv = _sixteen(_decode(element.get("explicitIV"), place), "an IV").hex() if element.get("explicitIV") else ""
        key_class = by_type.get(classes.get(element.get("kid", ""), ""), KeyClass.ALL)
        names[kid] = KeyName(kid, Scheme(scheme), key_class, iv=iv)
    if not names:
        raise ConfigError(f"{place} asks for no key")
    if len({name.scheme for name in names.values()}) > 1:
        raise ConfigError(f"{place} mixes schemes: ask for the keys of each one apart")
    systems = dict.fromkeys(e.get("systemId", "").lower() for e in root.iterfind("DRMSystemList/DRMSystem", _NS))
    return KeyRequest(root.get("contentId", ""), tuple(names.values()), tuple(systems))


def response(asked: KeyRequest, keys: Mapping[str, ContentKey], signals: Iterable[Signal]) -> bytes:
    """Write what a server answers to a request: its keys in the clear, and what manifests say to DRM systems."""
    root = parse(write(asked.title, asked.names, keys), "response")
    listed = _element(None, "DRMSystemList")
    for signal in signals:
        drm = _element(listed, "DRMSystem", kid=str(uuid.UUID(signal.kid)), systemId=signal.system)
        if signal.pssh:
            _element(drm, "PSSH").text = signal.pssh
        line = f'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="{signal.hls_uri}",KEYFORMAT="{signal.hls_keyformat}"'
        if signal.hls_uri:
            _element(drm, "HLSSignalingData", playlist="media").text = base64.b64encode(line.encode()).decode()
    root.insert(1, listed)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _rules(root: Any) -> Iterable[Any]:
    return root.iterfind("ContentKeyUsageRuleList/ContentKeyUsageRule", _NS)  # type: ignore[no-any-return]


def parse(data: bytes, place: str) -> Any:
    """Read XML of strangers: no DTD, no entities, at most `LARGEST` bytes.

    Raises:
        ConfigError: It is something else, or no CPIX.
    """
    if len(data) > LARGEST:
        raise ConfigError(f"{place} has more than {LARGEST >> 20} MiB: it is no CPIX document of a title")
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except (ElementTree.ParseError, ValueError, LookupError, DefusedXmlException, RecursionError) as error:
        raise ConfigError(f"{place} is not XML that can be read: {type(error).__name__}") from None
    if root.tag != f"{{{_NS['']}}}CPIX":
        raise ConfigError(f"{place} is not a CPIX document")
    return root


class _Opener:
    """Decrypts the keys of a document."""

    def __init__(self, root: Any, place: str, private_key: Path | None) -> None:
        self._place = place
        self._document_key = self._mac_key = b""
        delivery = root.findall("DeliveryDataList/DeliveryData", _NS)
        if not delivery:
            return
        if private_key is None:
            raise ConfigError(f"{place} is encrypted: give the recipient's private key with --cpix-key FILE")
        private = _private_key(private_key)
        for data in delivery:
            wrapped = data.find("DocumentKey//enc:CipherValue", _NS)
            if wrapped is None:
                continue
            try:
                self._document_key = _unwrap(private, _decode(wrapped.text, place))
                # Implementations differ in what stands around the value: any will do.
                mac = data.find("MACMethod//enc:CipherValue", _NS)
                self._mac_key = _unwrap(private, _decode(mac.text, place)) if mac is not None else b""
            except ValueError:
                continue  # for another recipient
            return
        raise ConfigError(f"{place} is encrypted for somebody else than {private_key} belongs to")

    def secret(self, element: Any) -> bytes | None:
        """The secret of a ``ContentKey``; None if it has none."""
        plain = element.find("Data/pskc:Secret/pskc:PlainValue", _NS)
        if plain is not None:
            return _decode(plain.text, self._place)
        sealed = element.find("Data/pskc:Secret/pskc:EncryptedValue/enc:CipherData/enc:CipherValue", _NS)
        if sealed is None:
            return None
        if not self._document_key:
            raise ConfigError(f"{self._place} has encrypted keys, but no document key to open them with")
        value = _decode(sealed.text, self._place)
        mac = element.find("Data/pskc:Secret/pskc:ValueMAC", _NS)
        if self._mac_key and (
            mac is None or not hmac.compare_digest(_decode(mac.text, self._place), _mac(self._mac_key, value))
        ):
            raise ConfigError(f"{self._place}: a key's MAC is wrong; the document is damaged or was changed")
        return _cbc_decrypt(self._document_key, value, self._place)


class _Sealer:
    """Encrypts the keys of a document for a recipient."""

    def __init__(self, root: Any, certificate: Path) -> None:
        from cryptography.hazmat.primitives import serialization

        found = _certificate(certificate)
        public = found.public_key()
        self._document_key, self._mac_key = secrets.token_bytes(32), secrets.token_bytes(64)
        data = _element(_element(root, "DeliveryDataList"), "DeliveryData")
        x509 = _element(_element(data, "DeliveryKey"), "ds:X509Data")
        der = found.public_bytes(serialization.Encoding.DER)
        _element(x509, "ds:X509Certificate").text = base64.b64encode(der).decode()
        wrapped = _element(_element(data, "DocumentKey", Algorithm=_AES), "Data")
        _cipher(
            _element(_element(wrapped, "pskc:Secret"), "pskc:EncryptedValue"), _RSA, _wrap(public, self._document_key)
        )
        method = _element(data, "MACMethod", Algorithm=_MAC)
        _cipher(_element(method, "pskc:MACKey"), _RSA, _wrap(public, self._mac_key))

    def seal(self, secret: Any, value: bytes) -> None:
        """Write an encrypted value and its MAC below ``pskc:Secret``."""
        sealed = _cbc_encrypt(self._document_key, value)
        _cipher(_element(secret, "pskc:EncryptedValue"), _AES, sealed)
        _element(secret, "pskc:ValueMAC").text = base64.b64encode(_mac(self._mac_key, sealed)).decode()


def _signals(root: Any, place: str) -> Iterable[Signal]:
    for element in root.iterfind("DRMSystemList/DRMSystem", _NS):
        system = element.get("systemId", "").lower()
        try:
            check_kid(system)
        except ValueError:
            raise ConfigError(f"{place}: a DRMSystem's systemId is not a UUID") from None
        pssh = "".join((element.findtext("PSSH", "", _NS) or "").split())
        if pssh and not _is_pssh(_decode(pssh, place)):
            raise ConfigError(f"{place}: a PSSH element holds no pssh box")
        uri = keyformat = ""
        for data in element.iterfind("HLSSignalingData", _NS):
            text = _decode(data.text or "", place).decode("utf-8", "replace")
            if data.get("playlist", "media") == "media" and text:
                uri, keyformat = _attribute(text, "URI"), _attribute(text, "KEYFORMAT")
        yield Signal(system, _kid(element, place), pssh, uri, keyformat)


def _is_pssh(box: bytes) -> bool:
    """Whether this is one whole ``pssh`` box, whose parts are as long as they say (ISO/IEC 23001-7, section 8.1.1)."""
    if len(box) < 32 or int.from_bytes(box[:4]) != len(box) or box[4:8] != b"pssh" or box[8] > 1:
        return False
    at = 28 + (4 + 16 * int.from_bytes(box[28:32]) if box[8] else 0)
    return at + 4 <= len(box) and at + 4 + int.from_bytes(box[at : at + 4]) == len(box)


def _attribute(line: str, name: str) -> str:
    """The value of an attribute in a ``#EXT-X-KEY`` line; empty if it has none."""
    _, found, rest = line.partition(f'{name}="')
    value = rest.partition('"')[0] if found else ""
    return value if value.isprintable() else ""


def _kid(element: Any, place: str) -> str:
    try:
        return check_kid(element.get("kid", ""))
    except ValueError:
        raise ConfigError(f"{place}: a key's id is not a UUID") from None


def _decode(text: str | None, place: str) -> bytes:
    try:
        return base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{place}: a value is not base64") from None


def _sixteen(value: bytes, what: str) -> bytes:
    if len(value) != KEY_BYTES:
        raise ConfigError(f"{what} has {len(value)} bytes instead of {KEY_BYTES}")
    return value


def _element(parent: Any, name: str, **attributes: str) -> Any:
    prefix, _, local = name.rpartition(":")
    tag = f"{{{_NS[prefix]}}}{local}"
    if parent is None:
        return ElementTree.Element(tag, attributes)
    return ElementTree.SubElement(parent, tag, attributes)


def _cipher(parent: Any, algorithm: str, value: bytes) -> None:
    _element(parent, "enc:EncryptionMethod", Algorithm=algorithm)
    _element(_element(parent, "enc:CipherData"), "enc:CipherValue").text = base64.b64encode(value).decode()


def _filter(rule: Any, key_class: KeyClass) -> None:
    """What a key is for, as SPEKE v2's PRESET-VIDEO-3 and PRESET-AUDIO-1 say it."""
    if key_class is KeyClass.AUDIO:
        _element(rule, "AudioFilter")
    elif key_class is KeyClass.SD:
        _element(rule, "VideoFilter", maxPixels=str(SD_PIXELS))
    elif key_class is KeyClass.HD:
        _element(rule, "VideoFilter", minPixels=str(SD_PIXELS + 1), maxPixels=str(HD_PIXELS))
    elif key_class is KeyClass.UHD:
        _element(rule, "VideoFilter", minPixels=str(HD_PIXELS + 1))
    else:
        _element(rule, "VideoFilter")
        _element(rule, "AudioFilter")


def _mac(key: bytes, value: bytes) -> bytes:
    return hmac.digest(key, value, "sha512")


def _cbc_encrypt(key: bytes, value: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    iv = secrets.token_bytes(_BLOCK_BYTES)
    pad = _BLOCK_BYTES - len(value) % _BLOCK_BYTES
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + encryptor.update(value + bytes([pad]) * pad) + encryptor.finalize()


def _cbc_decrypt(key: bytes, value: bytes, place: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(key) not in (16, 24, 32) or len(value) < 2 * _BLOCK_BYTES or len(value) % _BLOCK_BYTES:
        raise ConfigError(f"{place}: an encrypted key has a length that it can't have")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(value[:_BLOCK_BYTES])).decryptor()
    plain = decryptor.update(value[_BLOCK_BYTES:]) + decryptor.finalize()
    pad = plain[-1]
    if not 1 <= pad <= _BLOCK_BYTES:
        raise ConfigError(f"{place}: an encrypted key does not open; the document is damaged")
    return plain[:-pad]


def _wrap(public: Any, value: bytes) -> bytes:
    try:
        return bytes(public.encrypt(value, _oaep()))
    except ValueError:
        raise ConfigError(
            f"the recipient's RSA key has {public.key_size} bits, too few for CPIX: ask for a certificate "
            "with 2048 or more"
        ) from None


def _unwrap(private: Any, value: bytes) -> bytes:
    return bytes(private.decrypt(value, _oaep()))


def _oaep() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    # rsa-oaep-mgf1p is defined with SHA-1; it is not used as a digest of anything an attacker chooses.
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


def _private_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        found = serialization.load_pem_private_key(read_private(path).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a private key in PEM without a password") from error
    if not isinstance(found, rsa.RSAPrivateKey):
        raise ConfigError(f"{path} is not an RSA key, which CPIX needs")
    return found


def _certificate(path: Path) -> Any:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        found = x509.load_pem_x509_certificate(read_file(path, "the recipient's certificate")[0])
        public = found.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a certificate in PEM that can be read") from error
    if found.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(
            f"the certificate in {path} expired on {found.not_valid_after_utc:%Y-%m-%d}: ask for a new one"
        )
    if not isinstance(public, rsa.RSAPublicKey):
        raise ConfigError(f"the certificate in {path} has no RSA key, which CPIX needs")
    return found


for _prefix, _uri in _NS.items():
    ElementTree.register_namespace(_prefix, _uri)
