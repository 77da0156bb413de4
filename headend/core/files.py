"""Writing local files that nobody sees incomplete."""

from pathlib import Path
from shutil import copymode
from tempfile import TemporaryDirectory


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or replace one and keep its mode; an error leaves the earlier one.

    A link is followed. A device or a pipe is written to directly, since it can't be replaced.

    Args:
        path: The file; its folder exists.
        data: Its new content.

    Raises:
        OSError: The file can't be written.
    """
    if is_special(path):
        path.write_bytes(data)
        return
    target = path.resolve()
    with TemporaryDirectory(prefix=".headend-", dir=target.parent) as folder:
        whole = Path(folder, target.name)
        whole.write_bytes(data)
        if target.exists():
            copymode(target, whole)
        whole.replace(target)


def is_special(path: Path) -> bool:
    """Whether a path is a folder, a device or a pipe, which can't be replaced by a file.

    ``/dev/stdout`` is one even if it is redirected to a file, because the shell keeps that file open.
    """
    return path.is_relative_to("/dev") or (path.exists() and not path.is_file())
