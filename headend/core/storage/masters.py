"""Access to masters, which are local files or objects in S3. FFmpeg reads them in place; they are never copied."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from headend.core.errors import HeadendError, MasterError, ObjectMissing
from headend.core.media import Master
from headend.core.paths import expanded
from headend.core.settings import DEFAULT_STORE_PATIENCE_S
from headend.core.storage import digests

_BLOCK_BYTES = 8 << 20
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_SECRETS = (
    # URLs of the local range proxy, then queries of URLs and user names in URLs, and then credentials on their own.
    (re.compile(r"(\bhttp://127\.0\.0\.1:\d+/)[A-Za-z0-9_-]{43}/"), r"\1…/"),
    (re.compile(r"(\bhttps?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE), r"\1?…"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@\"'<>]+@", re.IGNORECASE), r"\1…@"),
    (re.compile(r"\b(X-Amz-(?:Credential|Signature|Security-Token))([=:]\s*)[^\s&\"'<>]+", re.IGNORECASE), r"\1\2…"),
    (
        re.compile(
            r"\b((?:aws_)?(?:access_key_id|secret_access_key|session_token))([\"']?\s{0,2}[=:]\s{0,2}[\"']?)[^\s\"',;]+",
            re.IGNORECASE,
        ),
        r"\1\2…",
    ),
    (re.compile(r"\b(Authorization\s*[=:]\s*)[^\r\n]+", re.IGNORECASE), r"\1…"),
)


def identify(
    url: str, endpoint_url: str | None = None, *, on_progress: Callable[[int, int], None] | None = None
) -> Master:
    """Identify a master by its size, digest and version.

    A local file is hashed, unless its digest is cached. For an object in S3, the ETag stands for the content.

    Args:
        url: Path, or ``s3://bucket/key``.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        on_progress: Called with bytes read and total bytes, while a local file is read.

    Raises:
        MasterError: The file or object does not exist, is empty, can't be read, is not a regular file, or changes while
            it is read.
        StorageError: S3 rejects the request or can't be reached.
    """
    if url.startswith("s3://"):
        return _identify_object(url, endpoint_url)
    if not url or "://" in url:
        raise MasterError("a master is a file's path or s3://bucket/key; copy it to one of these first")
    path = expanded(url)
    before = _stat_file(path)
    with _file_errors(path):
        digest = digests.cached(path, lambda: _digest(path, before.st_size, on_progress))
    after = _stat_file(path)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise MasterError(f"{path} changed while it was being read; wait until its delivery ends", url=str(path))
    return Master(str(path), after.st_size, f"sha256:{digest}", str(after.st_mtime_ns))


def check_exists(url: str, endpoint_url: str | None = None) -> None:
    """Check that a master exists and can be read, without reading it.

    Raises:
        MasterError: The file or object does not exist, is empty, can't be read, or is not a regular file.
        StorageError: S3 rejects the request or can't be reached.
    """
    if url.startswith("s3://"):
        _identify_object(url, endpoint_url)
    elif not url or "://" in url:
        raise MasterError("a master is a file's path or s3://bucket/key; copy it to one of these first")
    else:
        _stat_file(Path(url).expanduser().absolute())


def check_unchanged(master: Master, endpoint_url: str | None = None) -> None:
    """Check cheaply that a master is still the file that was identified.

    A request to S3 is tried once; use `headend.core.storage.with_retries` to retry.

    Raises:
        MasterError: It is missing, or has another size, modification time or ETag.
        StorageError: S3 rejects the request or can't be reached.
    """
    if master.url.startswith("s3://"):
        identified = _identify_object(master.url, endpoint_url, attempts=1)
        current = identified.size_bytes, identified.version
    else:
        status = _stat_file(Path(master.url))
        current = status.st_size, str(status.st_mtime_ns)
    if current != (master.size_bytes, master.version):
        raise MasterError(
            f"{master.url} has changed since the job was planned; submit it again",
            expected=(master.size_bytes, master.version),
            found=current,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A master that FFmpeg can open.

    Attributes:
        url: What FFmpeg opens: a path, or a local URL that contains a secret; never log it or store it in a document.
        progress: Returns a number that changes while data is read or retried; always 0 for files.
        failure: Returns the error that ended reading; None if there is none, and for files.
    """

    url: str
    progress: Callable[[], int] = lambda: 0
    failure: Callable[[], HeadendError | None] = lambda: None


@contextmanager
def opened(
    master: Master,
    endpoint_url: str | None = None,
    *,
    patience_s: float = DEFAULT_STORE_PATIENCE_S,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Source]:
    """Make a master available to FFmpeg for the duration of a ``with`` block.

    An object in S3 is read through `headend.core.storage.range_proxy`, which signs each request.

    Args:
        master: The master.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        patience_s: How long to retry if S3 can't be reached.
        on_wait: Called from time to time with a message for the user while S3 can't be reached; from any thread.
    """
    if not master.url.startswith("s3://"):
        yield Source(master.url)
        return
    from headend.core.storage.range_proxy import serving

    with serving(master.url, master.size_bytes, master.version, endpoint_url, patience_s, on_wait) as proxy:
        yield Source(proxy.url, lambda: proxy.passed, lambda: proxy.failure)


def read(master: Master, endpoint_url: str | None = None) -> bytes:
    """Read a small file, such as a subtitle sidecar; at most its identified size.

    Raises:
        MasterError: It is missing or can't be read.
        StorageError: S3 rejects the request or can't be reached.
    """
    if not master.url.startswith("s3://"):
        with _file_errors(Path(master.url)), Path(master.url).open("rb") as file:
            return file.read(master.size_bytes)
    from headend.core.storage.s3 import connect, split_url, translated

    bucket, key = split_url(master.url)
    try:
        with translated(f"can't read {master.url}", key):
            return connect(endpoint_url).get_object(Bucket=bucket, Key=key)["Body"].read(master.size_bytes)
    except ObjectMissing as error:
        raise MasterError(f"there is no {master.url}; check the bucket and the key", url=master.url) from error


def redact(text: str) -> str:
    """Remove secrets from a text: queries of URLs, credentials, authorization headers.

    Redact before truncating, since a truncated secret may no longer be recognized.
    """
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _stat_file(path: Path) -> os.stat_result:
    with _file_errors(path):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise MasterError(f"{path} is a folder; give the file's path", url=str(path))
    if not stat.S_ISREG(status.st_mode):
        raise MasterError(f"{path} is a pipe or a device; a master must be a file, so copy it to one", url=str(path))
    if status.st_size == 0:
        raise MasterError(f"{path} is empty; deliver it again", url=str(path))
    return status


def _digest(path: Path, size_bytes: int, on_progress: Callable[[int, int], None] | None) -> str:
    digest, done = sha256(), 0
    with _file_errors(path), path.open("rb") as file:
        while done < size_bytes and (block := file.read(_BLOCK_BYTES)):
            digest.update(block)
            done += len(block)
            if on_progress:
                on_progress(done, size_bytes)
    return digest.hexdigest()


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MasterError(f"there is no file {path}; check its name", url=str(path)) from error
    except PermissionError as error:
        raise MasterError(f"this user may not read {path}; change its permissions", url=str(path)) from error
    except OSError as error:
        raise MasterError(f"{path} can't be read: {error.strerror}", url=str(path)) from error


def _identify_object(url: str, endpoint_url: str | None, *, attempts: int | None = None) -> Master:
    from headend.core.storage.s3 import MAX_ATTEMPTS, connect, split_url, translated

    bucket, key = split_url(url)
    if not key or key.endswith("/"):
        raise MasterError(f"{url} is a folder; give the object's address", url=url)
    try:
        with translated(f"can't access {url}", key):
            client = connect(endpoint_url, attempts=attempts or MAX_ATTEMPTS)
            head = client.head_object(Bucket=bucket, Key=key)
    except ObjectMissing as error:
        raise MasterError(f"there is no {url}; check the bucket and the key", url=url) from error
    size_bytes, etag = head["ContentLength"], head["ETag"].strip('"')
    if size_bytes == 0:
        raise MasterError(f"{url} is empty; deliver it again", url=url)
    if head.get("StorageClass") in _ARCHIVES and 'ongoing-request="false"' not in head.get("Restore", ""):
        raise MasterError(f"{url} is archived ({head['StorageClass']}); restore it first", url=url)
    version_id = head.get("VersionId", "null")
    digest = f"etag:{etag}-{size_bytes}" + (f"-{version_id}" if version_id != "null" else "")
    return Master(url, size_bytes, digest, etag)
