"""Forms in which a secret could be written, to search for it where it must not be."""

import base64


def forms(secret: bytes) -> set[bytes]:
    """Return a secret as bytes, in hexadecimal digits, and in base64."""
    plain = base64.b64encode(secret)
    url = base64.urlsafe_b64encode(secret)
    hexed = secret.hex().encode()
    return {secret, hexed, hexed.upper(), plain, plain.rstrip(b"="), url, url.rstrip(b"=")}
