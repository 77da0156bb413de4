"""``python -m origin.watch.fetch``: download the players from npm, so that pages need no CDN.

They are stored in this package's folder, so that `hatch build` adds them to the wheel.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from headend.core.errors import ConfigError, HeadendError
from headend.core.files import write_whole
from origin.watch.pages import VENDOR
from origin.watch.players import PLAYERS, Player

TIMEOUT_S = 300
"""Timeout for the download of one player."""


def fetch(folder: Path = VENDOR) -> tuple[str, ...]:
    """Download the players that are missing.

    Args:
        folder: Destination.

    Returns:
        Labels of the downloaded players.

    Raises:
        ConfigError: npm is not installed or fails, or a script differs from the pinned one.
    """
    missing = [player for player in PLAYERS if not is_fetched(folder, player)]
    for player in missing:
        _download(folder, player)
    return tuple(player.label for player in missing)


def is_fetched(folder: Path, player: Player) -> bool:
    """Whether ``folder`` has the pinned script of a player."""
    path = folder / player.file
    return path.is_file() and _integrity(path.read_bytes()) == player.integrity


def _download(folder: Path, player: Player) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError("npm is not installed (Debian: npm); without it, pages load the players from a public CDN")
    spec = f"{player.package}@{player.version}"
    with tempfile.TemporaryDirectory() as scratch:
        argv = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", scratch, spec]
        try:
            subprocess.run(argv, cwd=scratch, check=True, capture_output=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigError(
                f"npm could not download {spec}; check the network and npm's registry: {error}"
            ) from error
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            member = archive.extractfile(f"package/{player.path}")
            script = member.read() if member is not None else b""
    if _integrity(script) != player.integrity:
        raise ConfigError(f"{spec} differs from the pinned script; check npm's registry, or pin another in players.py")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / player.file, script)


def _integrity(script: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(script).digest()).decode()}"


if __name__ == "__main__":
    try:
        fetched = fetch()
    except HeadendError as error:
        sys.exit(f"players: {error}")
    print(f"players: downloaded {', '.join(fetched)}" if fetched else "players: up to date")
