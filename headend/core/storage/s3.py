"""A store in S3, or on a server with S3's protocol."""

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from hashlib import md5
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as aws
from botocore.config import Config

from headend.core.errors import ConfigError, HeadendError, ObjectMissing, StorageError, StoreUnavailable
from headend.core.storage.base import ObjectInfo, Reader, check_key, check_prefix, open_source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_ATTEMPTS = 5
"""Number of attempts per request, with growing, random pauses of up to 1, 2, 4 and 8 s."""

READ_TIMEOUT_S = 30.0
"""How long a server may send nothing before a request is retried."""

_MODELS = botocore.session.Session().get_component("data_loader")
"""The SDK's model of S3, shared because loading it is most of the cost of a client."""

_MULTIPART = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
_CHECK_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
_ALLOW = "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket to these credentials"
_ADVICE = {
    "403": f"access is denied; {_CHECK_KEYS}, and their permissions",  # a response to HEAD has no details
    "AccessDenied": f"access is denied; {_ALLOW}",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION to it",
    "ExpiredToken": "the credentials have expired; renew them",
    "InvalidAccessKeyId": f"the access key is unknown; {_CHECK_KEYS}",
    "InvalidBucketName": "that is not a valid bucket name; correct it",
    "InvalidToken": "the session token is not valid; renew the credentials",
    "NoSuchBucket": "there is no such bucket; create it or correct its name",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION to it",
    "QuotaExceeded": "the quota is used up; free some space or raise it",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "SignatureDoesNotMatch": f"the secret key is wrong; {_CHECK_KEYS}",
    "XMinioStorageFull": "the server's disk is full; free some space",
}
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_TEMPORARY = frozenset({"BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "XAmzContentSHA256Mismatch"})
_TEMPORARY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_METADATA = "fd00:ec2::254"
_ENDPOINT = re.compile(r"https?://[^\s@?#]+")


@dataclass(frozen=True)
class S3Store:
    """Objects in a bucket, below a prefix.

    Credentials come from the usual AWS chain at the first request. They are not part of the store, so that it can be
    pickled and printed.

    Attributes:
        bucket: An existing bucket.
        prefix: Empty, or the first part of all keys, without leading and trailing slashes.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        attempts: Number of attempts per request, at least 1.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    attempts: int = MAX_ATTEMPTS

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str, str, str | None, int]]:
        return S3Store, (self.bucket, self.prefix, self.endpoint_url, self.attempts)

    @property
    def url(self) -> str:
        """Address with bucket and prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def put(self, key: str, data: bytes) -> None:
        """Write an object; replaces an existing one."""
        with self._translated("write", key):
            self._client.put_object(Bucket=self.bucket, Key=self._path(key), Body=data, ContentMD5=_md5(data))

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, in parts of 8 MiB."""
        with open_source(path) as source, self._translated("write", key):
            self._client.upload_fileobj(source, self.bucket, self._path(key), Config=_MULTIPART)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists; checks first, for servers that ignore the condition."""
        with suppress(ObjectMissing):
            self.head(key)
            return False
        try:
            with self._translated("write", key):
                self._client.put_object(
                    Bucket=self.bucket, Key=self._path(key), Body=data, ContentMD5=_md5(data), IfNoneMatch="*"
                )
        except StorageError as error:
            if error.facts.get("code") in _LOST_RACE:
                return False
            raise
        return True

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its ETag is unchanged; checks first, for servers that ignore the condition."""
        try:
            current: str | None = self.head(key).etag
        except ObjectMissing:
            current = None
        if current != etag:
            return False
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'}
        try:
            with self._translated("write", key):
                self._client.put_object(
                    Bucket=self.bucket, Key=self._path(key), Body=data, ContentMD5=_md5(data), **condition
                )
        except StorageError as error:
            if error.facts.get("code") in _LOST_RACE or isinstance(error, ObjectMissing):
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        with self._translated("read", key):
            return self._client.get_object(Bucket=self.bucket, Key=self._path(key))["Body"].read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        wanted = f"bytes={start}-{start + length - 1}"
        try:
            with self._translated("read", key):
                return self._client.get_object(Bucket=self.bucket, Key=self._path(key), Range=wanted)["Body"].read()
        except StorageError as error:
            if error.facts.get("code") == "InvalidRange":
                return b""
            raise

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        """Read an object in pieces."""
        with self._translated("read", key):
            body = self._client.get_object(Bucket=self.bucket, Key=self._path(key))["Body"]
            try:
                yield body
            finally:
                body.close()

    def head(self, key: str) -> ObjectInfo:
        """Describe an object. A missing bucket looks like a missing object, because responses to HEAD have no body."""
        with self._translated("read", key):
            head = self._client.head_object(Bucket=self.bucket, Key=self._path(key))
        modified = head["LastModified"].astimezone(UTC)
        return ObjectInfo(key, head["ContentLength"], modified, head["ETag"].strip('"'))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects under a prefix. They are sorted in memory, because some servers don't sort them."""
        check_prefix(prefix)
        return iter(self._listed(prefix, after, None))

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all objects under a prefix; takes as many requests as `list`."""
        return (info.key for info in self.list(prefix))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects under a prefix."""
        return self._listed(check_prefix(prefix), after, limit)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of folders directly below a prefix."""
        check_prefix(prefix)
        start = self._base + prefix
        with self._translated("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            names = {below["Prefix"][len(start) : -1] for page in pages for below in page.get("CommonPrefixes", ())}
        return tuple(sorted(names))

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with self._translated("delete", key):
            self._client.delete_object(Bucket=self.bucket, Key=self._path(key))

    @cached_property
    def _client(self) -> "S3Client":
        return connect(self.endpoint_url, attempts=self.attempts)

    @property
    def _base(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _path(self, key: str) -> str:
        return self._base + check_key(key)

    def _listed(self, prefix: str, after: str, limit: int | None) -> tuple[ObjectInfo, ...]:
        skip = len(self._base)
        start: dict[str, Any] = {"StartAfter": self._base + after} if after else {}
        size: Any = {} if limit is None else {"MaxItems": limit, "PageSize": min(limit, 1000)}
        with self._translated("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket,
                Prefix=self._base + prefix,
                PaginationConfig=size,
                **start,
            )
            infos = (
                ObjectInfo(o["Key"][skip:], o["Size"], o["LastModified"].astimezone(UTC), o["ETag"].strip('"'))
                for page in pages
                for o in page.get("Contents", ())
            )
            # Some servers ignore StartAfter.
            return tuple(sorted((info for info in infos if info.key > after), key=lambda info: info.key))

    def _translated(self, verb: str, key: str) -> AbstractContextManager[None]:
        return translated(f"can't {verb} {key or 'objects'} in {self.url}", key)


def split_url(url: str) -> tuple[str, str]:
    """Split ``s3://bucket/path``.

    Returns:
        Bucket and path; the path may be empty.

    Raises:
        ConfigError: It has another form; the message does not repeat it, as it may contain secrets.
    """
    bucket, _, path = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(
            "an address in S3 has the form s3://bucket/path, without credentials; "
            "bucket names are 3 to 63 of letters, digits, '.', '_' and '-'"
        )
    return bucket, path


def connect(
    endpoint_url: str | None, *, attempts: int = MAX_ATTEMPTS, read_timeout_s: float = READ_TIMEOUT_S
) -> "S3Client":
    """Make a client for S3 or a compatible server; may be used from several threads, but not be pickled.

    Args:
        endpoint_url: The server; None for ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, then AWS.
        attempts: Number of attempts per request, at least 1.
        read_timeout_s: How long the server may send nothing.

    Raises:
        ConfigError: The endpoint is not an HTTP address, is link-local, or contains credentials.
    """
    endpoint = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        _check_endpoint(endpoint)
    # A new session: threads must not share one, and it picks up renewed credentials.
    session = botocore.session.Session()
    session.register_component("data_loader", _MODELS)
    client = boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            # The only signature version that all servers accept in presigned URLs.
            signature_version="s3v4",
            # Servers other than AWS rarely have a host name per bucket.
            s3={"addressing_style": "path" if endpoint else "auto"},
            # Since version 1.36, boto3 sends CRC trailers by default, which other servers reject or store as content.
            # Single requests carry a Content-MD5 instead, parts a signed SHA-256.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=5,
            read_timeout=read_timeout_s,
            max_pool_connections=32,
        ),
    )
    if endpoint:
        client.meta.events.register_last("before-parameter-build.s3", _disable_region_redirect)
    return client


def _check_endpoint(endpoint: str) -> None:
    if not _ENDPOINT.fullmatch(endpoint):
        raise ConfigError("an S3 endpoint has the form https://host:port; set AWS_ACCESS_KEY_ID etc. for credentials")
    with suppress(ValueError):
        address = ip_address(urlsplit(endpoint).hostname or "")
        if address.is_link_local or str(address) == _METADATA:
            raise ConfigError(
                "an S3 endpoint can't be a link-local address: clouds serve secrets there; give the server's own"
            )


def _disable_region_redirect(context: dict[str, Any], **_: Any) -> None:
    """Disable redirects to other AWS regions: with other servers, the SDK would follow them endlessly."""
    context.setdefault("s3_redirect", {})["redirected"] = True


@contextmanager
def translated(failure: str, key: str) -> Iterator[None]:
    """Convert boto3's exceptions to headend's.

    Args:
        failure: What failed, such as "can't read a.json in s3://bucket"; contains no secret.
        key: The object's key.

    Raises:
        ObjectMissing: The server has no such object.
        StoreUnavailable: It can't be reached, or fails temporarily.
        StorageError: It rejected the request.
    """
    try:
        yield
    except aws.ClientError as error:
        raise _from_response(failure, key, error) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
        raise StorageError(
            f"{failure}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except aws.SSLError as error:
        raise StorageError(f"{failure}: the server's certificate is not trusted; set AWS_CA_BUNDLE", key=key) from error
    except (aws.ConnectionError, aws.HTTPClientError, aws.IncompleteReadError) as error:
        raise StoreUnavailable(f"{failure}: {error}; check the endpoint and the network", key=key) from error
    except aws.BotoCoreError as error:
        raise StorageError(f"{failure}: {error}", key=key) from error


def _from_response(failure: str, key: str, error: aws.ClientError) -> HeadendError:
    code = error.response["Error"].get("Code", "unknown")
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    facts = {"key": key, "code": code, "status": status}
    if code in _MISSING:
        return ObjectMissing(f"{failure}: there is no such object", **facts)
    if code in _TEMPORARY or status in _TEMPORARY_STATUS:
        return StoreUnavailable(f"{failure}: the server answers {status} {code}; try again later", **facts)
    return StorageError(f"{failure}: {_ADVICE.get(code, f'the server answers {status} {code}')}", **facts)


def _md5(data: bytes) -> str:
    return b64encode(md5(data, usedforsecurity=False).digest()).decode()
