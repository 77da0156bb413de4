"""Writing HTML pages to files, for ``--html``: a page appears as a whole, and an error leaves an earlier one."""

from pathlib import Path
from tempfile import TemporaryDirectory

from headend.core.errors import ConfigError
from headend.core.files import is_special, write_whole


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
        if not is_special(path):
            TemporaryDirectory(dir=path.resolve().parent).cleanup()
    except OSError as error:
        raise _refusal(path, error) from None


def write(path: Path, page: bytes) -> None:
    """Write a page.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        write_whole(path, page)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or "it is a folder"
    return ConfigError(f"{path} can't be written: {reason}; choose another file with --html")
