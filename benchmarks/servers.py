"""Runs servers for benchmarks: programs, and nginx as the reference."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headend.core.errors import ConfigError, ToolFailed

BARE = "aiohttp, bare"
"""A trivial handler: a lower bound for servers on aiohttp."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Base URL, without a trailing slash.
        pid: Main process; its children may be workers.
    """

    url: str
    pid: int

    def pids(self) -> list[int]:
        """Return the ids of all its processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_s(self) -> dict[int, float]:
        """Return user and system CPU seconds of each process so far."""
        tick = os.sysconf("SC_CLK_TCK")
        used = {}
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[pid] = (int(fields[11]) + int(fields[12])) / tick
        return used

    def own_bytes(self) -> int:
        """Return the private memory of its processes."""
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return sum(int(found) << 10 for found in re.findall(r"^RssAnon:\s+([0-9]+) kB$", status, re.M))

    def memory_bytes(self) -> int:
        """Return the private memory of its processes, plus all shared memory and socket buffers of this machine.

        The server's memory files and socket buffers belong to no process, so they can't be counted separately.
        """
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        kilobytes = re.findall(r"^(?:RssAnon|Shmem):\s+([0-9]+) kB$", status + Path("/proc/meminfo").read_text(), re.M)
        pages = re.findall(r"^TCP: .* mem ([0-9]+)$", Path("/proc/net/sockstat").read_text(), re.M)
        return (sum(map(int, kilobytes)) << 10) + sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def run_program(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server that prints its address as JSON."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}) as child:
        try:
            output = ""
            while child.stdout is not None and not output.endswith("}\n"):
                line = child.stdout.readline()
                if not line:
                    raise ToolFailed("a server did not start: see its output above", argv=list(argv))
                output += line
            yield Server(json.loads(output)["url"], child.pid)
        finally:
            child.terminate()
            child.wait()


@contextmanager
def run_bare() -> Iterator[Server]:
    """Run an aiohttp server with a trivial handler."""
    with run_program([sys.executable, "-m", "benchmarks.bare"]) as server:
        yield server


@contextmanager
def run_nginx(name: str, http: str, folder: Path, *, workers: int = 1) -> Iterator[Server]:
    """Run nginx on a free port.

    Args:
        name: Suffix of its folder's name.
        http: Content of its ``http`` block; PORT is replaced by the port.
        folder: Parent of its folder.
        workers: Number of worker processes.

    Raises:
        ConfigError: nginx is not installed, or does not start.
    """
    if shutil.which("nginx") is None:
        raise ConfigError("nginx is not installed: install it with 'apt-get install nginx-light'")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    place = folder / f"nginx-{name}"
    place.mkdir()
    bodies = "".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = place / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes {workers}; daemon off; pid {place}/nginx.pid; "
        f"error_log {place}/nginx.log; events {{ worker_connections 4096; }} "
        f"http {{ {bodies} {http.replace('PORT', str(port))} }}"
    )
    with subprocess.Popen(["nginx", "-c", str(config), "-p", str(place), "-e", f"{place}/nginx.log"]) as child:
        try:
            deadline_s = time.monotonic() + 10
            while not (place / "nginx.pid").exists():
                if child.poll() is not None or time.monotonic() > deadline_s:
                    raise ConfigError(f"nginx did not start: {(place / 'nginx.log').read_text()}")
                time.sleep(0.02)
            yield Server(f"http://127.0.0.1:{port}", child.pid)
        finally:
            child.terminate()
            child.wait()
