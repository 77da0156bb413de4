"""Writing HTML pages to files, for ``--html``: a page appears as a whole, and an error leaves an earlier one."""

from pathlib import Path
from shutil import copymode
from tempfile import TemporaryDirectory

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
            TemporaryDirectory(dir=path.resolve().parent).cleanup()
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
        with TemporaryDirectory(dir=target.parent) as folder:
            whole = Path(folder, target.name)
            whole.write_bytes(page)
            if target.exists():
                copymode(target, whole)
            whole.replace(target)
    except OSError as error:
        raise _refusal(path, error) from error


def _is_special(path: Path) -> bool:
    """Whether a path is a device or a pipe, which can't be replaced."""
    return path.exists() and not path.is_file()


def _refusal(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or "it is a folder"
    return ConfigError(f"{path} can't be written: {reason}; choose another file with --html")
