"""Paths in user input: expand ``~``."""

import os
from pathlib import Path

from headend.core.errors import ConfigError


def expanded(address: str) -> Path:
    """A path with the home folder in place of a leading ``~/``, and absolute.

    ``~film.mov`` is a file of that name: a shell has put the folders of other users in already.

    Raises:
        ConfigError: The name can't be written down, as it is not in UTF-8.
    """
    path = Path(address)
    path = (path.expanduser() if address == "~" or address.startswith("~/") else path).absolute()
    check_text(str(path))
    return path


def check_text(text: str) -> None:
    """Refuse bytes that are no text: plans, manifests and logs could not hold them.

    Raises:
        ConfigError: It is not in UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(text).decode(errors="backslashreplace")
        raise ConfigError(f"{shown} is not in UTF-8; rename the file or folder, or write it in UTF-8") from None
