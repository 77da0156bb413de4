"""The servers of a live run: ``headend`` commands in child processes, which exit with this process."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.process import killed_with_parent

START_S = 60.0
"""Timeout for a server to start and print its address."""
STOP_S = 10.0
"""Timeout for a server to stop after SIGTERM."""


class Child:
    """One server.

    Args:
        command: The ``headend`` command and its arguments. It must print a JSON object with its ``url``.
        log: File for its standard error.

    Attributes:
        command: The command and its arguments, without ``headend``.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = tuple(command)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start the server; returns its base URL.

        Raises:
            ConfigError: The server exits, or does not print its address.
        """
        argv = [sys.executable, "-m", "headend", *self.command]
        with self._log.open("ab") as log:
            # A separate session, so that Ctrl-C reaches only this process, which stops its children in order.
            self._process = await asyncio.create_subprocess_exec(
                *killed_with_parent(argv), stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._process.stdout is not None
        text = b""
        try:
            async with asyncio.timeout(START_S):
                while not text.rstrip().endswith(b"}"):
                    line = await self._process.stdout.readline()
                    if not line:
                        break
                    text += line
            return str(json.loads(text)["url"])
        except (TimeoutError, ValueError, KeyError) as error:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ConfigError(
                f"headend {self.command[0]} did not start: {' '.join(last) or 'it printed nothing'}"
            ) from error

    async def kill(self) -> None:
        """Kill the server with SIGKILL, as a power failure would."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Stop the server; kill it if it takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


def remove_cache(folder: Path) -> None:
    """Remove a cache's files, as if the machine had a new disk."""
    shutil.rmtree(folder, ignore_errors=True)
