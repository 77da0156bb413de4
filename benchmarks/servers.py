"""Servers that are measured, and nginx, the one that others are held against."""

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
"""A handler that does nothing: the floor of all that stands on aiohttp's server."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Without a slash at its end.
        pid: Of the process whose children work, or which works itself.
    """

    url: str
    pid: int

    def pids(self) -> list[int]:
        """All its processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_s(self) -> dict[int, float]:
        """What each process has used so far, user and system."""
        tick = os.sysconf("SC_CLK_TCK")
        used = {}
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[pid] = (int(fields[11]) + int(fields[12])) / tick
        return used

    def own_bytes(self) -> int:
        """What its processes take for themselves."""
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return sum(int(found) << 10 for found in re.findall(r"^RssAnon:\s+([0-9]+) kB$", status, re.M))

    def memory_bytes(self) -> int:
        """What its processes take, and all of this machine's files in memory and sockets: its own are in no process."""
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        kilobytes = re.findall(r"^(?:RssAnon|Shmem):\s+([0-9]+) kB$", status + Path("/proc/meminfo").read_text(), re.M)
        pages = re.findall(r"^TCP: .* mem ([0-9]+)$", Path("/proc/net/sockstat").read_text(), re.M)
        return (sum(map(int, kilobytes)) << 10) + sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def run_program(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server that writes its address as JSON."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}) as child:
        try:
            said = ""
            while child.stdout is not None and not said.endswith("}\n"):
                line = child.stdout.readline()
                if not line:
                    raise ToolFailed("a server does not start: see what it wrote above", argv=list(argv))
                said += line
            yield Server(json.loads(said)["url"], child.pid)
        finally:
            child.terminate()
            child.wait()


@contextmanager
def run_bare() -> Iterator[Server]:
    """Run a server on aiohttp whose handler does nothing."""
    with run_program([sys.executable, "-m", "benchmarks.bare"]) as server:
        yield server


@contextmanager
def run_nginx(name: str, http: str, folder: Path, *, workers: int = 1) -> Iterator[Server]:
    """Run nginx on a free port of this machine.

    Args:
        name: Ends the name of its folder.
        http: What its ``http`` block holds; PORT in it stands for the port.
        folder: Where its own folder is made.
        workers: How many processes serve.

    Raises:
        ConfigError: nginx is not installed, or does not start.
    """
    if shutil.which("nginx") is None:
        raise ConfigError("nginx is not installed: get it with 'apt-get install nginx-light'")
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
                    raise ConfigError(f"nginx does not start: {(place / 'nginx.log').read_text()}")
                time.sleep(0.02)
            yield Server(f"http://127.0.0.1:{port}", child.pid)
        finally:
            child.terminate()
            child.wait()
