"""Encryption of the keys in CPIX documents.

The content keys are encrypted with AES-256-CBC under a document key and carry an HMAC-SHA512; the document key is
encrypted with RSA-OAEP for the recipient's certificate. `cryptography` is imported only when it is needed.

Source: DASH-IF CPIX 2.3, sections 4 to 6.
"""

import base64
import hmac
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headend.core.errors import ConfigError
from headend.core.keys.cpix_xml import NAMESPACES, decode, element
from headend.core.keys.file import read_file, read_private

_AES = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
_RSA = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
_MAC = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"
_BLOCK_BYTES = 16


class Decrypter:
    """Decrypts the keys of a document.

    Args:
        root: The document.
        place: Where it comes from, for errors.
        private_key: PEM file of the recipient's private key; needed if the document is encrypted.

    Raises:
        ConfigError: The private key is missing, can't be used, or belongs to another recipient.
    """

    def __init__(self, root: Any, place: str, private_key: Path | None) -> None:
        self._place = place
        self._document_key = self._mac_key = b""
        delivery = root.findall("DeliveryDataList/DeliveryData", NAMESPACES)
        if not delivery:
            return
        if private_key is None:
            raise ConfigError(f"{place} is encrypted: give the recipient's private key with --cpix-key FILE")
        private = _private_key(private_key)
        for data in delivery:
            encrypted_key = data.find("DocumentKey//enc:CipherValue", NAMESPACES)
            if encrypted_key is None:
                continue
            try:
                self._document_key = _unwrap(private, decode(encrypted_key.text, place))
                # Implementations nest the value differently, so accept any structure.
                mac = data.find("MACMethod//enc:CipherValue", NAMESPACES)
                self._mac_key = _unwrap(private, decode(mac.text, place)) if mac is not None else b""
            except ValueError:
                continue  # for another recipient
            return
        raise ConfigError(f"{place} is encrypted for another recipient: the key in {private_key} can't decrypt it")

    def secret(self, key: Any) -> bytes | None:
        """The secret of a ``ContentKey``; None if it has none."""
        plain = key.find("Data/pskc:Secret/pskc:PlainValue", NAMESPACES)
        if plain is not None:
            return decode(plain.text, self._place)
        encrypted = key.find("Data/pskc:Secret/pskc:EncryptedValue/enc:CipherData/enc:CipherValue", NAMESPACES)
        if encrypted is None:
            return None
        if not self._document_key:
            raise ConfigError(f"{self._place} has encrypted keys, but no document key to decrypt them")
        value = decode(encrypted.text, self._place)
        mac = key.find("Data/pskc:Secret/pskc:ValueMAC", NAMESPACES)
        if self._mac_key and (
            mac is None or not hmac.compare_digest(decode(mac.text, self._place), _mac(self._mac_key, value))
        ):
            raise ConfigError(f"{self._place}: a key's MAC is wrong; the document is damaged or was changed")
        return _cbc_decrypt(self._document_key, value, self._place)


class Encrypter:
    """Encrypts the keys of a document for a recipient, and adds the encrypted document key.

    Args:
        root: The document.
        certificate: PEM file of the recipient's certificate.

    Raises:
        ConfigError: The certificate can't be used.
    """

    def __init__(self, root: Any, certificate: Path) -> None:
        from cryptography.hazmat.primitives import serialization

        x509_certificate = _certificate(certificate)
        public = x509_certificate.public_key()
        self._document_key, self._mac_key = secrets.token_bytes(32), secrets.token_bytes(64)
        data = element(element(root, "DeliveryDataList"), "DeliveryData")
        x509 = element(element(data, "DeliveryKey"), "ds:X509Data")
        der = x509_certificate.public_bytes(serialization.Encoding.DER)
        element(x509, "ds:X509Certificate").text = base64.b64encode(der).decode()
        wrapped = element(element(data, "DocumentKey", Algorithm=_AES), "Data")
        _cipher(
            element(element(wrapped, "pskc:Secret"), "pskc:EncryptedValue"), _RSA, _wrap(public, self._document_key)
        )
        method = element(data, "MACMethod", Algorithm=_MAC)
        _cipher(element(method, "pskc:MACKey"), _RSA, _wrap(public, self._mac_key))

    def write(self, secret: Any, value: bytes) -> None:
        """Write an encrypted value and its MAC below ``pskc:Secret``."""
        encrypted = _cbc_encrypt(self._document_key, value)
        _cipher(element(secret, "pskc:EncryptedValue"), _AES, encrypted)
        element(secret, "pskc:ValueMAC").text = base64.b64encode(_mac(self._mac_key, encrypted)).decode()


def _cipher(parent: Any, algorithm: str, value: bytes) -> None:
    element(parent, "enc:EncryptionMethod", Algorithm=algorithm)
    element(element(parent, "enc:CipherData"), "enc:CipherValue").text = base64.b64encode(value).decode()


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
        raise ConfigError(f"{place}: an encrypted key has an impossible length; the document is damaged")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(value[:_BLOCK_BYTES])).decryptor()
    plain = decryptor.update(value[_BLOCK_BYTES:]) + decryptor.finalize()
    pad = plain[-1]
    if not 1 <= pad <= _BLOCK_BYTES:
        raise ConfigError(f"{place}: an encrypted key can't be decrypted; the document is damaged")
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

    # rsa-oaep-mgf1p is defined with SHA-1; here, SHA-1 never digests attacker-controlled data.
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


def _private_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = serialization.load_pem_private_key(read_private(path).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a PEM private key without a password") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(f"{path} is not an RSA key, which CPIX needs")
    return key


def _certificate(path: Path) -> Any:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        certificate = x509.load_pem_x509_certificate(read_file(path, "the recipient's certificate")[0])
        public = certificate.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a readable PEM certificate") from error
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(
            f"the certificate in {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: ask for a new one"
        )
    if not isinstance(public, rsa.RSAPublicKey):
        raise ConfigError(f"the certificate in {path} has no RSA key, which CPIX needs")
    return certificate
