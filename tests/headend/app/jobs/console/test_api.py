import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from headend.app.jobs.console import openapi
from headend.app.jobs.console.app import Server, address_of
from headend.app.jobs.console.rights import Right, Tokens, load
from headend.app.jobs.console.view import RunRecord, Timeline, listed
from headend.app.jobs.model import State
from headend.app.jobs.queue import Entry, Queue
from headend.core import documents
from headend.core.errors import ConfigError
from tests.headend.app.jobs.console.fake_dispatcher import FakeDispatcher, busy_dispatcher, console, make_queue, put

READ, OPERATE = "r" * 24, "o" * 24
TOKENS = Tokens(((READ.encode(), Right.READ), (OPERATE.encode(), Right.OPERATE)))


@pytest.fixture
def queue() -> Queue:
    return make_queue()


@pytest.fixture
def server(queue: Queue) -> Iterator[Server]:
    with console(queue, busy_dispatcher(time.time(), ["20261128t200000000-00000a"]), TOKENS) as running:
        yield running


def ask(
    server: Server, path: str, token: str | None = OPERATE, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(server.url + path, data, sent)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def check(document: Any, schema: str) -> None:
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": openapi.SCHEMAS}}
    jsonschema.validate(document, root)


def test_the_document_is_openapi_and_served(server: Server) -> None:
    status, served = ask(server, "api/v1/openapi.json")
    assert status == 200
    validate(served)


def test_every_response_matches_the_document(server: Server, queue: Queue) -> None:
    job = put(queue, "film", (State.RUNNING, "started"), share=0.4)
    for path, schema in (
        ("api/v1/overview", "Overview"),
        ("api/v1/jobs", "Entries"),
        ("api/v1/jobs?state=running&limit=5", "Entries"),
        (f"api/v1/jobs/{job}", "Job"),
    ):
        status, document = ask(server, path)
        assert status == 200, path
        check(document, schema)
    assert ask(server, f"api/v1/jobs/{job}")[1]["account"]["cost"]["amount"] > 0


def test_a_command_takes_effect_and_answers_with_the_job(server: Server, queue: Queue) -> None:
    job = put(queue, "film", priority=10)
    status, document = ask(server, f"api/v1/jobs/{job}/commands", body={"verb": "prioritise", "priority": 90})
    check(document, "Job")
    assert (status, document["priority"]) == (200, 90)
    assert ask(server, f"api/v1/jobs/{job}/commands", body={"verb": "cancel"})[1]["state"] == "cancelled"
    assert queue.read(job).state is State.CANCELLED


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("api/v1/jobs?state=lost", None, 400),
        ("api/v1/jobs?limit=0", None, 400),
        ("api/v1/jobs?limit=1e9", None, 400),
        ("api/v1/jobs/20261128t200000000-00000a", None, 404),
        ("api/v1/jobs/..%2f..%2fx", None, 404),
        ("api/v1/nothing", None, 404),
        ("api/v1/jobs/JOB/commands", b"{", 400),
        ("api/v1/jobs/JOB/commands", {"verb": "burn"}, 400),
        ("api/v1/jobs/JOB/commands", {"verb": "cancel", "priority": 3}, 400),
        ("api/v1/jobs/JOB/commands", {"verb": "prioritise"}, 400),
        ("api/v1/jobs/JOB/commands", {"verb": "prioritise", "priority": 101}, 400),
        ("api/v1/jobs/JOB/commands", {"verb": "cancel", "more": 1}, 400),
        ("api/v1/jobs/JOB/commands", {"verb": "retry"}, 409),
        ("api/v1/jobs/JOB/commands", b"x" * 10_000, 400),
    ],
)
def test_every_error_has_its_status_and_one_line(
    path: str, body: Any, status: int, server: Server, queue: Queue
) -> None:
    found, document = ask(server, path.replace("JOB", put(queue, "film")), body=body)
    assert found == status
    check(document, "Error")
    assert "\n" not in document["error"]


def test_a_read_token_can_not_operate(server: Server, queue: Queue) -> None:
    job = put(queue, "film")
    assert ask(server, "api/v1/jobs", READ)[0] == 200
    assert ask(server, f"api/v1/jobs/{job}/commands", READ, {"verb": "cancel"})[0] == 403
    for token in (None, "x" * 24, ""):
        assert ask(server, "api/v1/jobs", token)[0] == 401
        assert ask(server, f"api/v1/jobs/{job}/commands", token, {"verb": "cancel"})[0] == 401
    assert queue.read(job).state is State.QUEUED


def test_a_form_of_another_site_can_do_nothing(queue: Queue) -> None:
    job = put(queue, "film")
    with console(queue, FakeDispatcher()) as server:
        body = json.dumps({"verb": "cancel"}).encode()
        kind = {"Content-Type": "text/plain"}
        assert ask(server, f"api/v1/jobs/{job}/commands", None, body, **kind)[0] == 415
        assert ask(server, "api/v1/jobs", None, Host="evil.example")[0] == 403
    assert queue.read(job).state is State.QUEUED


def test_events_contain_the_jobs_and_then_changes(server: Server, queue: Queue) -> None:
    job = put(queue, "film")
    request = urllib.request.Request(server.url + "api/v1/events", headers={"Authorization": f"Bearer {READ}"})
    with urllib.request.urlopen(request, timeout=20) as stream:
        events = read_events(stream)
        name, first = next(events)
        assert name == "jobs" and [entry["job"] for entry in first["jobs"]] == [job]
        name, overview = next(events)
        check(overview, "Overview")
        assert (name, overview["right"]) == ("overview", "read")
        ask(server, f"api/v1/jobs/{job}/commands", body={"verb": "hold"})
        changed = next(document for name, document in events if name == "jobs")
        assert [entry["state"] for entry in changed["jobs"]] == ["held"]


def test_a_page_of_a_long_queue_has_what_runs_what_is_next_and_what_has_just_ended() -> None:
    def state_of(number: int) -> State:
        return State.DONE if number < 1000 else State.RUNNING if number == 1000 else State.QUEUED

    entries = [Entry(f"{n:04}", 1, state_of(n), 90 if n == 1500 else 50, f"title-{n}") for n in range(4000)]
    assert [int(entry.id) for entry in listed(entries, 10)] == [1000, 1500, 1001, 1002, 1003, 1004, 999, 998, 997, 996]


def read_events(stream: Any) -> Iterator[tuple[str, Any]]:
    while True:
        name = stream.readline().decode().removeprefix("event: ").strip()
        data = stream.readline().decode().removeprefix("data: ")
        stream.readline()
        yield name, json.loads(data)


def test_without_tokens_only_loopback_is_served() -> None:
    assert address_of(":8090", Tokens()) == ("127.0.0.1", 8090)
    assert address_of("[::1]:8090", Tokens()) == ("::1", 8090)
    assert address_of("0.0.0.0:8090", TOKENS) == ("0.0.0.0", 8090)
    for wrong in ("0.0.0.0:8090", "8090", "localhost:x", "localhost:70000", "[::]:8090"):
        with pytest.raises(ConfigError):
            address_of(wrong, Tokens())


def test_a_port_in_use_is_reported_in_one_line(queue: Queue) -> None:
    from headend.app.jobs.console.app import Console
    from headend.core import prices

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second = Server(lambda: Console(queue, FakeDispatcher(), prices.load("aws"), Tokens(), "x"), "127.0.0.1", port)
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{port}"), second:
            pass


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no tokens"), ("admin " + "x" * 24, "line 1 is neither"), ("# c\nread short", "line 2 has a token")],
)
def test_a_file_of_tokens_is_checked(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=message):
        load(path)
    path.write_text(f"# people\nread {READ}\noperate {OPERATE}\n")
    assert load(path) == TOKENS
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(path)
    assert READ not in repr(TOKENS)


def test_the_timeline_keeps_runs_that_have_ended() -> None:
    times = iter([10.0, 20.0, 30.0])
    timeline = Timeline(lambda: next(times))
    runs = [RunRecord(n, "job", "film", f"chunk {n}", 1, "w", 10.0) for n in range(2)]
    timeline.update(runs)
    timeline.failed("job", "chunk 1", 1)
    timeline.update(runs[:1])
    assert [(run.run, run.ended_s, run.failed) for run in timeline.runs()] == [(0, None, False), (1, 20.0, True)]
    assert documents.as_plain(timeline.runs()[0])["began_s"] == 10.0
