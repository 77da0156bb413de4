"""Keys from a SPEKE v2 server, which receives a CPIX document and returns it with the keys.

Credentials come from the environment, never from the address: ``HEADEND_SPEKE_TOKEN`` (bearer), ``HEADEND_SPEKE_USER``
and ``HEADEND_SPEKE_PASSWORD`` (basic), or ``HEADEND_SPEKE_AWS_REGION``, which signs requests to an AWS API Gateway with
the usual AWS credentials. Additionally, ``HEADEND_SPEKE_CERTIFICATE`` and ``HEADEND_SPEKE_CERTIFICATE_KEY`` may be PEM
files of a client certificate.

Source: Secure Packager and Encoder Key Exchange, version 2.0; AWS Signature Version 4.
"""

import base64
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import urllib3

from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.hosts import is_loopback
from headend.core.keys import cpix, cpix_xml
from headend.core.keys.base import ContentKey, complete
from headend.core.media.protection import KeyName, Scheme, Signal

ANSWER_S = 30.0
"""How long a server may take to begin its response, and then how long it may take to finish it."""
ATTEMPTS = 4
BACKOFF = 0.5
"""The n-th retry waits this many seconds times 2^(n - 1), as in urllib3; the first one doesn't wait."""
TOKEN, USER, PASSWORD = "HEADEND_SPEKE_TOKEN", "HEADEND_SPEKE_USER", "HEADEND_SPEKE_PASSWORD"
AWS_REGION = "HEADEND_SPEKE_AWS_REGION"
CERTIFICATE, CERTIFICATE_KEY = "HEADEND_SPEKE_CERTIFICATE", "HEADEND_SPEKE_CERTIFICATE_KEY"
_AWS_SERVICE = "execute-api"
_PIECE_BYTES = 1 << 16
_WANTED = "give speke+https://HOST/PATH"


@dataclass(frozen=True, slots=True)
class SpekeKeys:
    """Keys from a SPEKE server.

    Attributes:
        address: ``https://`` address; ``http://`` only at loopback.
    """

    address: str

    def __post_init__(self) -> None:
        """Check the address; raises `ConfigError`."""
        try:
            parsed = urllib3.util.parse_url(self.address)
        except urllib3.exceptions.LocationParseError:
            raise ConfigError(f"a SPEKE server's address is not a URL: {_WANTED}") from None
        if parsed.auth:
            raise ConfigError(f"a SPEKE server's address must not contain a password: set {USER} and {PASSWORD}")
        if parsed.scheme != "https" and not (parsed.scheme == "http" and is_loopback(parsed.host or "")):
            raise ConfigError("keys are requested over https:// only, except from loopback")
        if not parsed.host or not self.address.isprintable():
            raise ConfigError(f"a SPEKE server's address is not a URL: {_WANTED}")

    @property
    def url(self) -> str:
        """The source's address for display."""
        return f"speke+{self.address.partition('?')[0]}"

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
        """Get the secrets of some keys, with one request per scheme; see `headend.core.keys.base.KeyStore`."""
        keys: dict[str, ContentKey] = {}
        for scheme in dict.fromkeys(name.scheme for name in names):
            keys |= self._request(title, [name for name in names if name.scheme is scheme], scheme)
        return keys

    def document(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> cpix.Document:
        """Request keys and the signalling of DRM systems.

        Raises:
            ConfigError: The server rejects the request, or its response does not match it.
            StoreUnavailable: It can't be reached, or fails temporarily.
        """
        return cpix.read(self._post(cpix.request(title, names, systems)), self.url)

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:
        """Get the server's DRM signalling; see `headend.core.keys.base.KeyStore`."""
        signals: list[Signal] = []
        for scheme in dict.fromkeys(name.scheme for name in names if name.scheme is not Scheme.AES_128):
            requested = [name for name in names if name.scheme is scheme]
            kids = {name.kid for name in requested}
            document = self.document(title, requested, systems)
            signals += (signal for signal in document.signals if signal.kid in kids and signal.system in systems)
        return tuple(signals)

    def _request(self, title: str, names: Sequence[KeyName], scheme: Scheme) -> Mapping[str, ContentKey]:
        document = self.document(title, names, ())
        wanted = {name.kid for name in names}
        if extra := sorted(set(document.keys) - wanted):
            raise ConfigError(f"{self.url} returned the key {extra[0]}, which was not requested", kid=extra[0])
        for kid, key_scheme in document.schemes.items():
            if key_scheme is not scheme:
                raise ConfigError(f"{self.url} returned the key {kid} for {key_scheme} instead of {scheme}", kid=kid)
        return complete(names, document.keys, self.url, document.ivs)

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/xml", "X-Speke-Version": "2.0", "X-Speke-User-Agent": "headend"}
        headers |= self._credentials(body, headers)
        retries = urllib3.Retry(
            total=ATTEMPTS - 1, backoff_factor=BACKOFF, status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None, redirect=0, raise_on_status=False, raise_on_redirect=False,
            respect_retry_after_header=False,  # it may be a day
        )  # fmt: skip
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10.0, read=ANSWER_S), ssl_context=self._tls())
        try:
            response = pool.request(
                "POST", self.address, body=body, headers=headers, retries=retries, preload_content=False
            )
            data = self._read(response)
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailable(f"{self.url} does not answer: {type(error).__name__}; try again later") from None
        if response.status >= 500 or response.status == 429:
            raise StoreUnavailable(f"{self.url} answers {response.status}: try again later")
        if response.status in (401, 403):
            raise ConfigError(
                f"{self.url} answers {response.status}: check {TOKEN}, or {USER} and {PASSWORD}, or {AWS_REGION}, and "
                f"{CERTIFICATE}"
            )
        if 300 <= response.status < 400:
            raise ConfigError(
                f"{self.url} answers {response.status}, and redirects are not followed: use the final address"
            )
        if response.status != 200:
            raise StorageError(f"{self.url} answers {response.status}: it rejects the request for these keys")
        return data

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read a response up to the largest size of a document; raises `StoreUnavailable` if that takes too long."""
        deadline_s = time.monotonic() + ANSWER_S
        data = bytearray()
        while len(data) <= cpix_xml.MAX_BYTES and (piece := response.read1(_PIECE_BYTES)):
            data += piece
            if time.monotonic() > deadline_s:
                response.close()
                raise StoreUnavailable(f"{self.url} takes more than {ANSWER_S:.0f} s to answer: try again later")
        response.close()
        return bytes(data)

    def _credentials(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that authenticate the request."""
        if token := _variable(TOKEN):
            return {"Authorization": f"Bearer {token}"}
        if user := _variable(USER):
            secret = f"{user}:{_variable(PASSWORD)}".encode()
            return {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}
        if region := os.environ.get(AWS_REGION):
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.session import Session

            credentials = Session().get_credentials()
            if credentials is None:
                raise ConfigError(
                    f"{AWS_REGION} is set, but there are no AWS credentials: set AWS_ACCESS_KEY_ID or a profile"
                )
            request = AWSRequest("POST", self.address, headers=dict(headers), data=body)
            SigV4Auth(credentials, _AWS_SERVICE, region).add_auth(request)
            return dict(request.headers.items())
        return {}

    def _tls(self) -> ssl.SSLContext | None:
        """TLS settings with the client certificate; None if there is none."""
        certificate = os.environ.get(CERTIFICATE)
        if not certificate:
            return None
        context = ssl.create_default_context()
        try:
            context.load_cert_chain(certificate, os.environ.get(CERTIFICATE_KEY))
        except OSError as error:  # includes errors of TLS
            why = error.strerror or "it is not a PEM certificate with its key"
            raise ConfigError(f"{certificate}, which {CERTIFICATE} names, can't be used: {why}") from None
        return context


def _variable(name: str) -> str:
    """Read a credential from the environment, stripped of white space; empty if it is not set.

    Raises:
        ConfigError: A header can't hold it. The message does not show it.
    """
    value = os.environ.get(name, "").strip()
    if not value.isprintable() or (name == TOKEN and not value.isascii()):
        raise ConfigError(f"{name} has characters that are not allowed in credentials: set it again")
    return value
