"""Compiled kernels are kept in the user's cache folder while they are used."""

import os
import time
from pathlib import Path

from cdn_sim import compiling


def make(folder: Path, unused_s: float) -> Path:
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "loop.advance.nbi").touch()
    os.utime(folder, (0, time.time() - unused_s))
    return folder


def test_folders_of_other_versions_are_removed_when_nothing_has_used_them_for_a_month(tmp_path: Path) -> None:
    own = make(tmp_path / "own", 2 * compiling.UNUSED_S)
    used = make(tmp_path / "used", compiling.UNUSED_S - 3600)
    unused = make(tmp_path / "unused", compiling.UNUSED_S + 3600)
    compiling._use(own)
    assert (own / "engine" / "loop.advance.nbi").exists() and used.exists() and not unused.exists()
    assert time.time() - own.stat().st_mtime < 3600
    make(tmp_path / "later", 2 * compiling.UNUSED_S)
    compiling._use(tmp_path / "new")  # its use has just been recorded, so it is kept whatever comes after
    compiling._use(own)
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == ["new", "own", "used"]
