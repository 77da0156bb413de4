"""Writing HTML pages to files, for ``--html``."""

from pathlib import Path

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
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise _refusal(path, error) from None


def write(path: Path, page: bytes) -> None:
    """Write a page.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        path.write_bytes(page)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or "it is a folder"
    return ConfigError(f"{path} can't be written: {reason}; choose another file with --html")
