"""One small title, made once by ``headend submit``."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import headend
from tests.support.masters import Sound, make_film


@dataclass(frozen=True, slots=True)
class Submitted:
    """Output and store of ``headend submit --json``."""

    master: Path
    store: Path
    output: dict[str, Any]
    stderr: str


@pytest.fixture(scope="session")
def submitted(tmp_path_factory: pytest.TempPathFactory, known_speed: None) -> Submitted:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("made")
    master = make_film(folder / "film.mp4", sound=[Sound()])
    done = headend(
        *("submit", "film.mp4", "--title", "film", "--ladder", "smoke", "--effort", "draft", "--store", "store"),
        *("--segment-seconds", "1", "--chunk-seconds", "1", "--json"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return Submitted(master, folder / "store", json.loads(done.stdout), done.stderr)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HEADEND_STORE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def free_port() -> int:
    """A port on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as passing:
        port: int = passing.getsockname()[1]
        return port
