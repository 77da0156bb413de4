"""Paths in user input: expands ``~``."""

import os
import re
from pathlib import Path

from headend.core.errors import ConfigError


def expanded(address: str) -> Path:
    """An absolute path; a leading ``~/`` is replaced by the home folder.

    Names such as ``~film.mov`` are kept: the shell has already expanded other users' home folders.

    Raises:
        ConfigError: The path is not valid UTF-8.
    """
    path = Path(address)
    path = (path.expanduser() if address == "~" or address.startswith("~/") else path).absolute()
    check_text(str(path))
    return path


def check_text(text: str) -> None:
    """Reject text that is not valid UTF-8, since plans, manifests and logs can't hold it.

    Raises:
        ConfigError: It is not valid UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        # Bytes of a file's name are shown as such; JSON may have other characters that UTF-8 can't hold.
        as_bytes = text.encode(errors="backslashreplace") if re.search("[\ud800-\udc7f\udd00-\udfff]", text) else None
        shown = (as_bytes or os.fsencode(text)).decode(errors="backslashreplace")
        raise ConfigError(f"{shown} is not in UTF-8; rename the file or folder, or write it in UTF-8") from None
