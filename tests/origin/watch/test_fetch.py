from pathlib import Path

import pytest

from headend.core.errors import ConfigError
from origin.watch import fetch
from origin.watch.players import PLAYERS

NPM = """#!/bin/sh
# npm pack … --pack-destination FOLDER SPEC
cd "$5" && mkdir -p package/dist/modern/umd
for path in dist/hls.min.js dist/modern/umd/dash.mediaplayer.min.js dist/shaka-player.compiled.js; do
    echo "{content}" >package/$path
done
tar -czf it.tgz package
"""


def test_without_npm_one_line_explains_the_consequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"npm is not installed.*public CDN"):
        fetch.fetch(tmp_path)


def test_a_script_other_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text(NPM.format(content="alert(1)"))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    vendor = tmp_path / "vendor"
    with pytest.raises(ConfigError, match="differs from the pinned"):
        fetch.fetch(vendor)
    assert not vendor.exists()


def test_a_failure_of_npm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ConfigError, match=r"npm could not download hls\.js@"):
        fetch.fetch(tmp_path)


def test_a_damaged_script_counts_as_missing(tmp_path: Path) -> None:
    for player in PLAYERS:
        assert not fetch.is_fetched(tmp_path, player)
        (tmp_path / player.file).write_text("half")
        assert not fetch.is_fetched(tmp_path, player)
