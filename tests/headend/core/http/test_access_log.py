import io
import json
import select

import pytest

from headend.core.access.grants import without_token
from headend.core.http import access_log
from headend.core.http.access_log import AccessLog


class Writes(io.StringIO):
    """Records each write to the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[str] = []

    def flush(self) -> None:
        self.batches.append(self.getvalue()[sum(map(len, self.batches)) :])


def add(log: AccessLog, path: str, route: str = "segment") -> None:
    log.add("192.0.2.1", "GET", path, route, 200, 5, 0.0123)


def test_many_requests_are_logged_in_few_writes_of_whole_lines() -> None:
    stream = Writes()
    log = AccessLog(stream)
    for number in range(100):
        add(log, f"/film/a/b/{number}.m4s")
    log.write(log.take())
    log.write(log.take())
    batches = [batch for batch in stream.batches if batch]
    assert len(batches) < 100 / 20
    assert all(batch.endswith("\n") and len(batch) <= select.PIPE_BUF for batch in batches)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["path"] for line in lines] == [f"/film/a/b/{number}.m4s" for number in range(100)]
    assert (lines[0]["ms"], lines[0]["status"], lines[0]["client"]) == (12.3, 200, "192.0.2.1")


@pytest.mark.parametrize(
    ("target", "route", "path"),
    [
        ("/t/a.b.c/film/multivariant.m3u8", "entry", "/film/multivariant.m3u8"),
        ("/film/a/b/1.m4s?token=hush", "segment", "/film/a/b/1.m4s"),
        ("/t/a.b.c/nothing", "other", ""),
        ("/\x1b[2J", "other", ""),
    ],
)
def test_neither_tokens_nor_arbitrary_input_is_logged(target: str, route: str, path: str) -> None:
    log = AccessLog(io.StringIO(), redact=without_token)
    add(log, target, route)
    assert [line["path"] for line in log.take()] == [path]


def test_a_slow_log_writer_loses_lines_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MAX_LINES", 3)
    log = AccessLog(io.StringIO())
    for _ in range(10):
        add(log, "/")
    lines = log.take()
    assert len(lines) == 4 and lines[-1]["lost_lines"] == 7
    assert log.take() == []
