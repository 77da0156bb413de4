"""Writing HTML pages to files, for ``--html``: a page appears as a whole, and an error leaves an earlier one."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from headend.core.errors import ConfigError


def check_writable(path: Path) -> None:
    """Check before hours of work that a page can be written.

    Args:
        path: The file, which is left unchanged.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError
        if not _is_special(path):
            NamedTemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise _refusal(path, error) from None


def write(path: Path, page: bytes) -> None:
    """Write a page.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        if _is_special(path):
            path.write_bytes(page)
            return
        target = path.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        with NamedTemporaryFile(dir=target.parent, delete=False) as file:
            partial = Path(file.name)
            try:
                file.write(page)
                file.flush()
                partial.chmod(mode)
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _refusal(path, error) from error


def _is_special(path: Path) -> bool:
    """Whether a path is a device or a pipe, which can't be replaced."""
    return path.exists() and not path.is_file()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refusal(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or "it is a folder"
    return ConfigError(f"{path} can't be written: {reason}; choose another file with --html")
