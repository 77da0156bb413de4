from pathlib import Path

import pytest

from headend.app.cli.demo import PROGRAM, serve_command


def test_the_demo_tells_the_command_that_this_reader_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM, raising=False)
    assert serve_command(Path("/data/store")) == "headend serve --store /data/store"
    monkeypatch.setenv(PROGRAM, "./run headend")
    assert serve_command(Path("/data/my store")) == "./run headend serve --store '/data/my store'"
