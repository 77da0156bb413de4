"""ClearKey licence requests and licences, as JSON.

Source: W3C Encrypted Media Extensions, sections 9.1.3 and 9.1.4.
"""

import base64
import binascii
from collections.abc import Iterable
from http import HTTPStatus

import msgspec

MAX_REQUEST_BYTES = 4096
"""Maximum size of a licence request; a request for `MAX_KEYS` keys has about 2,000 bytes."""
MAX_KEYS = 64
"""Maximum keys per licence; a title has one for each key class and key epoch."""


class Refused(Exception):
    """A request for keys is refused.

    Attributes:
        status: HTTP status of the response.
        reason: Reason, shown to the client.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _LicenceRequest(msgspec.Struct):
    kids: list[str]
    type: str = "temporary"


def parse_request(body: bytes) -> list[str]:
    """Parse a licence request.

    Returns:
        The requested key ids, in hexadecimal.

    Raises:
        Refused: The body is not a licence request, or it asks for too many keys or for a persistent licence.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
    try:
        request = msgspec.json.decode(body, type=_LicenceRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(HTTPStatus.BAD_REQUEST, "not a ClearKey licence request") from None
    if not 1 <= len(request.kids) <= MAX_KEYS:
        raise Refused(HTTPStatus.BAD_REQUEST, f"a licence is for 1 to {MAX_KEYS} keys")
    if request.type != "temporary":
        raise Refused(HTTPStatus.BAD_REQUEST, "only temporary licences are available")
    return [_decode_kid(text) for text in request.kids]


def render_licence(keys: Iterable[tuple[str, bytes]]) -> bytes:
    """Render a licence.

    Args:
        keys: Each key's id in hexadecimal, and its 16 secret bytes.
    """
    body = {
        "keys": [
            {"kty": "oct", "kid": _base64url(bytes.fromhex(kid)), "k": _base64url(secret)} for kid, secret in keys
        ],
        "type": "temporary",
    }
    return msgspec.json.encode(body)


def _decode_kid(text: str) -> str:
    """Decode a key id: 16 bytes in base64url without padding."""
    try:
        kid = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        kid = b""
    if len(kid) != 16:
        raise Refused(HTTPStatus.BAD_REQUEST, "a key id is not 16 bytes in base64url")
    return kid.hex()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
