"""The benchmark reports what its job really did."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mmap import ACCESS_READ, mmap
from os import getpid
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from benchmarks.jobs import Watched, _bytes_in, job_of, watch
from benchmarks.overheads import Report, Scratch, Uploads, draw, findings, parts
from benchmarks.slow_link import slowed
from headend.core.media import Effort
from headend.core.storage.local import LocalStore
from tests.support.masters import make_film

JOB = Watched(
    encode_s=10.0, end_s=1.0, tasks=2, task_s=20.0, encoder_cpu_s=90.0, start_cpu_s=4.0, worker_cpu_s=3.0,
    dask_cpu_s=1.0, own_cpu_s=2.0, output_bytes=9, task_bytes=5, scratch_bytes=12,
)  # fmt: skip
REPORT = Report(
    effort=Effort.DRAFT,
    renditions=6,
    uploads=Uploads((10.0,), (11.0,), 10.0, 15.0, hidden=0.8, hidden_at_best=0.8, bytes_per_s=1e5),
    scratch=Scratch(12, 5, 1.2),
    chunk_s=30.0,
    job=JOB,
    start_s=0.5,
    start_share=0.01,
    dask_share=0.01,
)


@pytest.mark.heavy
def test_the_result_matches_the_job(tmp_path: Path) -> None:
    master = make_film(tmp_path / "film.mp4", frame_rate=Fraction(24), frame_count=96, size=(160, 90))

    seen = watch(job_of(master, tmp_path / "store", chunk_s=Fraction(2)), cores=2)

    stored = [info for info in LocalStore(tmp_path / "store").list("titles/") if not info.key.endswith("init.mp4")]
    assert seen.tasks >= 2 and not any("/receipts/" in info.key for info in stored)
    media = sum(info.size_bytes for info in stored if "/tracks/" in info.key and info.key.endswith((".m4s", ".jpg")))
    assert seen.output_bytes == media > seen.task_bytes > 0
    assert min(seen.task_s, seen.encode_s, seen.end_s) > 0
    assert min(parts(seen).values()) >= 0 < seen.encoder_cpu_s
    assert sum(parts(seen).values()) == pytest.approx(seen.cpu_s)


def test_a_file_that_was_removed_counts_as_long_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(bytes(1000))
    gone = tmp_path / "gone"
    gone.write_bytes(bytes(1 << 16))
    with gone.open("rb") as file:
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
    assert _bytes_in(tmp_path, [getpid()]) == 1000 + (1 << 16)
    gone.unlink()
    assert _bytes_in(tmp_path, [getpid()]) == 1000 + (1 << 16)
    data.close()
    assert _bytes_in(tmp_path, [getpid()]) == 1000


@contextmanager
def echo() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_slow_link_delivers_the_same_bytes() -> None:
    with echo() as url, slowed(url, 2e6) as slow_url:
        client = HTTPConnection(urlsplit(slow_url).netloc, timeout=60)
        for number in range(3):
            body = bytes([number]) * 150_000
            client.request("PUT", "/", body)
            assert client.getresponse().read() == body
        client.close()


def test_findings_report_missed_targets() -> None:
    assert [line.endswith("reached") for line in findings(REPORT)] == [True, True, True, False]
    waits = replace(REPORT.uploads, hidden=0.2)
    worse = replace(REPORT, uploads=waits, scratch=Scratch(30, 5, 3.0), start_share=0.03)
    assert [line.endswith("missed") for line in findings(worse)] == [True, True, True, False]


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(REPORT, tmp_path / "overheads.png")
    assert (tmp_path / "overheads.png").read_bytes().startswith(b"\x89PNG")
