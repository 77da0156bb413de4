"""The environment of child processes: the variables that programs need, without this process's secrets."""

import os
from collections.abc import Mapping

_KEPT = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR",
        "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS",
        "FONTCONFIG_FILE", "FONTCONFIG_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
        "SSL_CERT_FILE", "SSL_CERT_DIR",
        "HEADEND_FFMPEG",
    }
)  # fmt: skip


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without variables that a child does not need, such as S3 credentials.

    Args:
        more: Additional variables.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    return {**kept, **(more or {})}
