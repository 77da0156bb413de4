"""Reading masters at their location: local files, or objects in S3.

A master is never changed and never copied; FFmpeg reads it in place.
"""

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
    # The path of a master that is served on this machine, then the query of a URL, userinfo, and pieces of either.
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
    """Find out what a master is.

    A local file is read whole for its digest, unless that is known from before. An object in S3 is only asked for its
    ETag, which stands for its content.

    Args:
        url: Path, or ``s3://bucket/key``.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        on_progress: Called with bytes read and bytes in all, while a local file is read.

    Raises:
        MasterError: There is no such file or object, it is empty, can't be read, is no ordinary file, or changes
            while it is read.
        StorageError: S3 refuses or can't be reached.
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
        raise MasterError(f"{path} changed while it was read; wait until its delivery is complete", url=str(path))
    return Master(str(path), after.st_size, f"sha256:{digest}", str(after.st_mtime_ns))


def check_there(url: str, endpoint_url: str | None = None) -> None:
    """Make sure that there is a master to be read, without reading it.

    Raises:
        MasterError: There is no such file or object, it is empty, can't be read, or is no ordinary file.
        StorageError: S3 refuses or can't be reached.
    """
    if url.startswith("s3://"):
        _identify_object(url, endpoint_url)
    elif not url or "://" in url:
        raise MasterError("a master is a file's path or s3://bucket/key; copy it to one of these first")
    else:
        _stat_file(Path(url).expanduser().absolute())


def check_unchanged(master: Master, endpoint_url: str | None = None) -> None:
    """Make sure, at little cost, that the master is still the file that was identified.

    S3 is asked once; `headend.core.storage.patiently` asks again.

    Raises:
        MasterError: It is gone, or has another size, modification time or ETag.
        StorageError: S3 refuses or can't be reached.
    """
    if master.url.startswith("s3://"):
        found = _identify_object(master.url, endpoint_url, attempts=1)
        now = found.size_bytes, found.version
    else:
        status = _stat_file(Path(master.url))
        now = status.st_size, str(status.st_mtime_ns)
    if now != (master.size_bytes, master.version):
        raise MasterError(
            f"{master.url} has changed since the job was planned; start the job anew",
            expected=(master.size_bytes, master.version),
            found=now,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A master that is open to FFmpeg.

    Attributes:
        url: What FFmpeg opens: a path, or an address on this machine that is served to this user only. That is a
            secret all the same, and belongs into no log and no document.
        progress: Changes as long as anything is read, or tried to be; of a file always 0.
        failure: Why it could not be read at last; None while it can, and of a file.
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
    """Open a master for FFmpeg while the block runs.

    An object in S3 is read through `headend.core.storage.range_proxy`, which signs each request.

    Args:
        master: The master.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        patience_s: How long S3 is waited for when it can't be reached.
        on_wait: Gets a line for people, now and then while S3 is waited for; called from any thread.
    """
    if not master.url.startswith("s3://"):
        yield Source(master.url)
        return
    from headend.core.storage.range_proxy import serving

    with serving(master.url, master.size_bytes, master.version, endpoint_url, patience_s, on_wait) as proxy:
        yield Source(proxy.url, lambda: proxy.passed, lambda: proxy.failure)


def read(master: Master, endpoint_url: str | None = None) -> bytes:
    """Read a small file whole, such as one of text beside a film; no more than the size that is known of it.

    Raises:
        MasterError: It is gone or can't be read.
        StorageError: S3 refuses or can't be reached.
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
    """Take out of a text what must not be logged: queries of URLs, credentials, authorization headers.

    Redact before cutting a text to length, so that no secret loses the name by which it is known.
    """
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _stat_file(path: Path) -> os.stat_result:
    with _file_errors(path):
        found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise MasterError(f"{path} is a folder; name the file in it", url=str(path))
    if not stat.S_ISREG(found.st_mode):
        raise MasterError(f"{path} is a pipe or a device; a master must be a file, so copy it to one", url=str(path))
    if found.st_size == 0:
        raise MasterError(f"{path} is empty; deliver it again", url=str(path))
    return found


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
        raise MasterError(f"{path} may not be read by this user; change its permissions", url=str(path)) from error
    except OSError as error:
        raise MasterError(f"{path} can't be read: {error.strerror}", url=str(path)) from error


def _identify_object(url: str, endpoint_url: str | None, *, attempts: int | None = None) -> Master:
    from headend.core.storage.s3 import MAX_ATTEMPTS, connect, split_url, translated

    bucket, key = split_url(url)
    if not key or key.endswith("/"):
        raise MasterError(f"{url} is a folder; name the object in it", url=url)
    try:
        with translated(f"can't look at {url}", key):
            client = connect(endpoint_url, attempts=attempts or MAX_ATTEMPTS)
            found = client.head_object(Bucket=bucket, Key=key)
    except ObjectMissing as error:
        raise MasterError(f"there is no {url}; check the bucket and the key", url=url) from error
    size_bytes, etag = found["ContentLength"], found["ETag"].strip('"')
    if size_bytes == 0:
        raise MasterError(f"{url} is empty; deliver it again", url=url)
    if found.get("StorageClass") in _ARCHIVES and 'ongoing-request="false"' not in found.get("Restore", ""):
        raise MasterError(f"{url} is archived ({found['StorageClass']}); restore it first", url=url)
    version_id = found.get("VersionId", "null")
    digest = f"etag:{etag}-{size_bytes}" + (f"-{version_id}" if version_id != "null" else "")
    return Master(url, size_bytes, digest, etag)
