"""Signs S3 GET requests.

botocore signs any kind of request, but that takes half as long as all the rest of a small read.
"""

import hmac
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime

from botocore.credentials import ReadOnlyCredentials

_EMPTY_SHA256 = sha256(b"").hexdigest()


class Signer:
    """Signs GET requests for objects.

    Args:
        credentials: Access key, secret key and optional session token.
        region: Region of the bucket.
        host: Host of the server, with its port unless that is the default.

    Source:
        AWS Signature Version 4 for API requests: creating a signed request, with the signature in a header.
    """

    def __init__(self, credentials: ReadOnlyCredentials, region: str, host: str) -> None:
        self._credentials = credentials
        self._region = region
        self._host = host
        self._signing_key = lru_cache(maxsize=2)(self._derive_key)

    def headers(self, path: str, now_s: float) -> dict[str, str]:
        """Make the headers of a signed GET without a query.

        Args:
            path: Path, percent-encoded as it will be sent.
            now_s: Unix time.

        Returns:
            All headers that S3 needs, ``host`` included.
        """
        timestamp = strftime("%Y%m%dT%H%M%SZ", gmtime(now_s))
        day = timestamp[:8]
        headers = {"host": self._host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": timestamp}
        if self._credentials.token:
            headers["x-amz-security-token"] = self._credentials.token
        canonical_headers = "".join(f"{name}:{value}\n" for name, value in headers.items())
        signed_headers = ";".join(headers)
        canonical_request = f"GET\n{path}\n\n{canonical_headers}\n{signed_headers}\n{_EMPTY_SHA256}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        request_sha256 = sha256(canonical_request.encode()).hexdigest()
        string_to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{request_sha256}"
        signature = hmac.digest(self._signing_key(day), string_to_sign.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._credentials.access_key}/{scope}, "
            f"SignedHeaders={signed_headers}, Signature={signature}"
        )
        return headers

    def _derive_key(self, day: str) -> bytes:
        key = f"AWS4{self._credentials.secret_key}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key
