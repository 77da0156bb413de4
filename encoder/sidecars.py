"""Sidecars: files of text beside a master, looked at before anything is planned.

They are somebody else's files. What they are is told by their content; they are decoded strictly, and what is no text
of films is refused in one line.
"""

import re
from dataclasses import replace
from hashlib import sha256

import av

from encoder import cues, timed_text
from headend.errors import MasterError
from headend.media import Master
from headend.storage import masters

MOST_BYTES = 16 << 20
"""Far beyond the text of any film, whatever its styles."""
FORMATS = {"srt": "srt", "webvtt": "webvtt", "ass": "ass"}
"""FFmpeg's demuxers by what `look` calls a format; it has none of TTML."""
TTML = "ttml"

_SRT = re.compile(r"^\s*\d{0,9}\s*\d{1,3}:\d{2}:\d{2}[,.:]\d{1,3}\s*-->")
_ASS = re.compile(r"^\s*(?:;[^\n]*\n\s*)*\[(?:Script Info|V4\+? Styles)\]", re.IGNORECASE)


def look(url: str, endpoint_url: str | None = None) -> tuple[Master, str]:
    """Say what a sidecar is.

    Args:
        url: A path, or ``s3://bucket/key``.
        endpoint_url: S3 endpoint; None for the SDK's own choice.

    Returns:
        The file, with the digest of its bytes, and its format: ``srt``, ``webvtt``, ``ass`` or ``ttml``.

    Raises:
        MasterError: It can't be read, is too large, in no known encoding or format, broken, or has no cue.
        StorageError: S3 refuses or can't be reached.
    """
    sidecar = masters.identify(url, endpoint_url)
    data = read(sidecar, endpoint_url)
    codec = _format(data, url)
    if codec == TTML:
        found = timed_text.cues(timed_text.read(data, url))
    else:
        try:
            found = cues.read(text_of(data, url).encode(), verbatim=False, file_format=FORMATS[codec])
        except (av.FFmpegError, IndexError) as error:
            raise MasterError(f"{url} begins as {codec}, but can't be read; have it exported anew") from error
    if not found:
        raise MasterError(f"{url} has no cue: it is empty or damaged; have it exported anew")
    return replace(sidecar, digest=_digest(data)), codec


def read(sidecar: Master, endpoint_url: str | None = None) -> bytes:
    """Read a sidecar whole.

    Raises:
        MasterError: It can't be read, is too large, or is not the file any more whose SHA-256 is known.
        StorageError: S3 refuses or can't be reached.
    """
    if sidecar.size_bytes > MOST_BYTES:
        raise MasterError(
            f"{sidecar.url} has {sidecar.size_bytes:,} bytes, too many for the text of a film; "
            "give SRT, WebVTT, ASS or TTML"
        )
    data = masters.read(sidecar, endpoint_url)
    if len(data) != sidecar.size_bytes or (sidecar.digest.startswith("sha256:") and _digest(data) != sidecar.digest):
        raise MasterError(f"{sidecar.url} has changed since the job was planned; start the job anew")
    return data


def text_of(data: bytes, url: str) -> str:
    """Decode a sidecar: UTF-8, or UTF-16 with its mark.

    Raises:
        MasterError: It is neither, or binary.
    """
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MasterError(f"{url} is not in UTF-8 (byte {error.start:,}); save it in that encoding") from None
    if "\0" in text:
        raise MasterError(f"{url} is no text, but binary; give SRT, WebVTT, ASS or TTML")
    return text


def _format(data: bytes, url: str) -> str:
    # XML says itself how it is encoded.
    if data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") or data[:4] in (
        b"\xff\xfe<\0",
        b"\xfe\xff\0<",
    ):
        return TTML
    head = text_of(data, url)[:4096]
    if head.startswith("WEBVTT"):
        return "webvtt"
    if _ASS.match(head):
        return "ass"
    if _SRT.match(head):
        return "srt"
    raise MasterError(f"{url} is none of SRT, WebVTT, ASS and TTML; have it exported as one of these")


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
