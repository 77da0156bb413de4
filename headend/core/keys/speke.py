"""Keys from a SPEKE v2 server: a CPIX document is posted, and comes back with the keys in it.

Source: Secure Packager and Encoder Key Exchange, version 2.0. Credentials come from the environment, never from the
address: ``HEADEND_SPEKE_TOKEN`` (bearer) or ``HEADEND_SPEKE_USER`` and ``HEADEND_SPEKE_PASSWORD`` (basic).
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import urllib3

from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.hosts import is_loopback
from headend.core.keys import cpix
from headend.core.keys.base import ContentKey, complete
from headend.core.media.protection import KeyName, Scheme, Signal

ANSWER_S = 30.0
ATTEMPTS = 4
BACKOFF = 0.5
"""The n-th retry waits this many seconds times 2^(n - 1), as urllib3 counts; the first waits none."""
TOKEN, USER, PASSWORD = "HEADEND_SPEKE_TOKEN", "HEADEND_SPEKE_USER", "HEADEND_SPEKE_PASSWORD"


@dataclass(frozen=True, slots=True)
class SpekeKeys:
    """Keys from a server.

    Attributes:
        address: ``https://`` address; ``http://`` only at loopback.
    """

    address: str

    def __post_init__(self) -> None:
        """Check the address; raises `ConfigError`."""
        parsed = urllib3.util.parse_url(self.address)
        if parsed.auth:
            raise ConfigError(f"a SPEKE server's address has no password in it: set {USER} and {PASSWORD}")
        if parsed.scheme != "https" and not (parsed.scheme == "http" and is_loopback(parsed.host or "")):
            raise ConfigError("keys are asked for over https:// only, or at loopback")

    @property
    def url(self) -> str:
        """Where keys come from, for people."""
        return f"speke+{self.address.partition('?')[0]}"

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
        """Get the secrets of some keys, one request for each scheme; see `headend.core.keys.base.KeyStore`."""
        found: dict[str, ContentKey] = {}
        for scheme in dict.fromkeys(name.scheme for name in names):
            found |= self._ask(title, [name for name in names if name.scheme is scheme], scheme)
        return found

    def document(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> cpix.Document:
        """Ask for keys together with the signalling of DRM systems.

        Raises:
            ConfigError: The server refuses, or its answer is not what was asked for.
            StoreUnavailable: It can't be reached, or has a fault that may pass.
        """
        return cpix.read(self._post(cpix.request(title, names, systems)), self.url)

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:
        """What the server says of DRM systems; see `headend.core.keys.base.KeyStore`."""
        found: list[Signal] = []
        for scheme in dict.fromkeys(name.scheme for name in names if name.scheme is not Scheme.AES_128):
            asked = [name for name in names if name.scheme is scheme]
            kids = {name.kid for name in asked}
            answer = self.document(title, asked, systems).signals
            found += (one for one in answer if one.kid in kids and one.system in systems)
        return tuple(found)

    def _ask(self, title: str, names: Sequence[KeyName], scheme: Scheme) -> Mapping[str, ContentKey]:
        answer = self.document(title, names, ())
        wanted = {name.kid for name in names}
        if extra := sorted(set(answer.keys) - wanted):
            raise ConfigError(f"{self.url} gives the key {extra[0]}, which was not asked for", kid=extra[0])
        for kid, given in answer.schemes.items():
            if given is not scheme:
                raise ConfigError(f"{self.url} gives the key {kid} for {given} instead of {scheme}", kid=kid)
        return complete(names, answer.keys, self.url, answer.ivs)

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/xml", "X-Speke-Version": "2.0", "X-Speke-User-Agent": "headend"}
        if token := os.environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        elif user := os.environ.get(USER):
            secret = f"{user}:{os.environ.get(PASSWORD, '')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        retries = urllib3.Retry(
            total=ATTEMPTS - 1, backoff_factor=BACKOFF, status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None, redirect=0, raise_on_status=False, raise_on_redirect=False,
        )  # fmt: skip
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10.0, read=ANSWER_S))
        try:
            answer = pool.request(
                "POST", self.address, body=body, headers=headers, retries=retries, preload_content=False
            )
            data = answer.read(cpix.LARGEST + 1)
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailable(f"{self.url} does not answer: {type(error).__name__}; try again later") from None
        if answer.status >= 500 or answer.status == 429:
            raise StoreUnavailable(f"{self.url} answers {answer.status}: try again later")
        if answer.status in (401, 403):
            raise ConfigError(f"{self.url} answers {answer.status}: check {TOKEN}, or {USER} and {PASSWORD}")
        if answer.status != 200:
            raise StorageError(f"{self.url} answers {answer.status}: it does not take the request for these keys")
        return bytes(data)
