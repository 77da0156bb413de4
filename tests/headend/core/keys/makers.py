"""Makers of keys and certificates."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from headend.core.keys.base import ContentKey
from headend.core.media.protection import KeyClass, KeyName, Scheme, key_name

CLASSES = (KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.UHD)


def make_names(scheme: Scheme = Scheme.CBCS, title: str = "film") -> tuple[KeyName, ...]:
    """Return the names of a title's keys."""
    return tuple(key_name(title, scheme, key_class) for key_class in CLASSES)


def make_keys(scheme: Scheme = Scheme.CBCS, title: str = "film") -> dict[str, ContentKey]:
    """Keys with predictable secrets, for tests only."""
    names = make_names(scheme, title)
    return {name.kid: ContentKey(name, bytes([number + 1]) * 16) for number, name in enumerate(names)}


def make_certificate(folder: Path, *, expired: bool = False) -> tuple[Path, Path]:
    """Return a recipient's certificate and private key, as PEM files."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "recipient")])
    end = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "recipient.pem", folder / "recipient.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    private.chmod(0o600)
    return public, private
