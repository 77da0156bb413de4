"""Puts load on a server with wrk."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headend.core.errors import ConfigError, ToolFailed

_SCRIPT = """
local paths = {{ {paths} }}
local number = 0
request = function()
    number = number % #paths + 1
    return wrk.format({method}, paths[number], nil, {body})
end
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a load test.

    Attributes:
        requests: Number of completed requests.
        seconds: Duration.
        received_bytes: Received bytes, with headers.
        p50_ms: Median time to the end of the response.
        p99_ms: 99th percentile of that time.
    """

    requests: int
    seconds: float
    received_bytes: int
    p50_ms: float
    p99_ms: float


def run_wrk(
    url: str,
    paths: Sequence[str],
    *,
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    folder: Path,
    body: str = "",
) -> Load:
    """Request paths in turn; each client sends its next request when the last response is complete.

    Args:
        url: Base URL of the server, without a trailing slash.
        paths: Percent-encoded paths.
        headers: Headers of each request.
        connections: Number of clients.
        seconds: Duration.
        folder: Folder for wrk's script.
        body: Body of POST requests; empty for GET.

    Raises:
        ConfigError: wrk is not installed.
        ToolFailed: wrk failed, or a response was an error.
    """
    if shutil.which("wrk") is None:
        raise ConfigError("wrk is not installed: install it with 'apt-get install wrk'")
    script = folder / "wrk.lua"
    script.write_text(
        _SCRIPT.format(
            paths=", ".join(f'"{path}"' for path in paths),
            method='"POST"' if body else '"GET"',
            body=f"[[{body}]]" if body else "nil",
        )
    )
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    argv += [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    ended = subprocess.run([*argv, url], capture_output=True, text=True, check=False)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", ended.stdout, re.MULTILINE)
    if found is None or int(found[6]):
        raise ToolFailed(
            f"wrk failed, or got errors from {url}; see --verbose",
            argv=argv,
            status=ended.returncode,
            stderr=(ended.stdout + ended.stderr)[-2000:],
        )
    requests, microseconds, received, p50_us, p99_us = map(int, found.groups()[:5])
    return Load(requests, microseconds / 1e6, received, p50_us / 1000, p99_us / 1000)
