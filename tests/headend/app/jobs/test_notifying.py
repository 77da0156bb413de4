import base64
import hashlib
import hmac
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import psutil
import pytest

from headend.app.cli import cli
from headend.app.cli.configuring import option_names, variable
from headend.app.jobs import hooks, webhooks
from headend.app.jobs.delivering import Sender
from headend.app.jobs.events import SECRET_VARIABLE, secret_of
from headend.app.jobs.model import Job, Status, Verb, fold
from headend.app.jobs.notifying import Notifier, dead_letters
from headend.app.jobs.queue import Queue
from headend.app.jobs.webhooks import check_url
from headend.core.errors import ConfigError
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from headend.core.storage.memory import MemoryStore
from tests.headend.app.jobs.makers import make_job_request, make_request
from tests.support.command_line import ROOT
from tests.support.waiting import wait_until

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Receiver:
    """A webhook receiver that answers with given statuses, then 204."""

    def __init__(self, *statuses: int, port: int = 0) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver, answers = self, iter(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((dict(self.headers), body))
                self.send_response(next(answers, 204))
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=hidden"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def states(self) -> list[str]:
        """The announced states, in order, without repeats."""
        events = {headers["webhook-id"]: json.loads(body) for headers, body in list(self.requests)}
        return [event["data"]["state"] for event in events.values()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    http_receiver = Receiver(*getattr(request, "param", ()))
    yield http_receiver
    http_receiver.close()


def make_job(*urls: str) -> Job:
    return fold(replace(make_job_request(), notify=urls, labels=(("season", "2"),)), Status(), ())


class Clock:
    """A clock that advances only while a sender is idle."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def deliver_all(notifier: Notifier, job: Job) -> list[float]:
    """Deliver the events in the outbox; returns the idle time in between."""
    clock, waits = Clock(), list[float]()
    sender = Sender(notifier, clock=clock)
    sender.add(filter(None, (notifier.message(job, delivery) for delivery in notifier.outbox())))
    while (idle_s := sender.step()) is not None:
        if idle_s:
            waits.append(idle_s)
            clock.now_s += idle_s
    assert sender.wait(0)
    return waits


def describe(job: Job, hook: tuple[str, ...] = ()) -> tuple[MemoryStore, list[float]]:
    store = MemoryStore()
    notifier = Notifier(store, hook)
    notifier.announce(job, 0)
    waits = deliver_all(notifier, job)
    assert notifier.outbox() == ()
    return store, waits


def test_an_event_is_a_signed_cloudevent(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    store, _ = describe(make_job(receiver.url))
    [(headers, body)] = receiver.requests
    event = json.loads(body)
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "headend.job.queued",
        "20261128t200000000-00000a",
    )
    assert event["data"]["title"] == "film" and event["data"]["labels"] == {"season": "2"}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret_of(SECRET), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert dead_letters(store) == ()


@pytest.mark.parametrize("receiver", [(503, 500)], indirect=True)
def test_a_receiver_that_fails_for_a_while_gets_the_same_event_in_the_end(receiver: Receiver) -> None:
    store, waits = describe(make_job(receiver.url))
    assert waits == [2.0, 4.0]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert dead_letters(store) == ()


@pytest.mark.parametrize("receiver", [(410,)], indirect=True)
def test_a_refused_event_becomes_a_dead_letter_at_once(receiver: Receiver) -> None:
    store, waits = describe(make_job(receiver.url))
    [message] = dead_letters(store)
    assert waits == [] and message.error == "status 410"
    assert message.url == receiver.url.partition("?")[0], "the query may be a secret"


def test_an_unreachable_receiver_costs_a_dead_letter_and_no_job() -> None:
    store, waits = describe(make_job("http://127.0.0.1:9/hook"))
    assert len(waits) == 5
    assert "no answer from 127.0.0.1" in dead_letters(store)[0].error


def test_a_receiver_that_answers_byte_by_byte_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dribble() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(b"H")
                    time.sleep(0.05)

        threading.Thread(target=dribble, daemon=True).start()
        refusal = webhooks.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}")
    assert refusal is not None and not refusal.is_final and "no answer from 127.0.0.1" in refusal.error


def test_announced_events_stay_in_the_outbox_until_they_are_delivered(receiver: Receiver) -> None:
    store, job = MemoryStore(), make_job(receiver.url, "http://127.0.0.1:9/hook")
    announced = Notifier(store).announce(job, 0)
    assert len(announced) == 2

    later = Notifier(store)
    assert later.outbox() == announced
    message = later.message(job, announced[0])
    assert message is not None and later.send(message) is None
    later.settle(message, None)
    assert (later.outbox(), len(receiver.requests)) == (announced[1:], 1)
    deliver_all(later, job)
    assert (later.outbox(), [message.number for message in dead_letters(store)]) == ((), [0])


def test_the_hook_gets_the_event_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in hooks.SECRETS:
        monkeypatch.setenv(name, SECRET)
    out = tmp_path / "out.json"
    program = (
        "import json,os,sys;"
        f"open({str(out)!r},'w').write(json.dumps([json.load(sys.stdin),"
        f"[os.environ[name] for name in {(hooks.JOB_ID, hooks.JOB_TITLE, hooks.JOB_STATE)}],"
        f"[name for name in {hooks.SECRETS} if name in os.environ]]))"
    )
    store, _ = describe(make_job(), (sys.executable, "-c", program))
    event, variables, leaked = json.loads(out.read_text())
    assert event["subject"] == "20261128t200000000-00000a"
    assert variables == ["20261128t200000000-00000a", "film", "queued"]
    assert leaked == [] and dead_letters(store) == ()


def test_the_hooks_variables_set_no_options_of_a_headend_that_it_runs(tmp_path: Path) -> None:
    store = open_store(StoreSettings(str(tmp_path / "store")))
    queue = Queue(store)
    first, second = (queue.add(make_request(title), priority=50) for title in ("film", "other"))
    queue.command(second.id, Verb.HOLD)
    hook = ("sh", "-c", f'cd "$0" && {sys.executable} -m headend jobs --json > "$HEADEND_JOB_ID"', str(tmp_path))
    job = queue.read(first.id)
    notifier = Notifier(store, hook, {"HEADEND_STORE": store.url, "PYTHONPATH": str(ROOT)})
    notifier.announce(job, 0)
    deliver_all(notifier, job)
    assert dead_letters(store) == ()
    listed = json.loads((tmp_path / first.id).read_text())["jobs"]
    assert {(each["title"], each["state"]) for each in listed} == {("film", "queued"), ("other", "held")}


def test_no_variable_of_hooks_is_an_options_variable() -> None:
    options = {variable(name) for name in option_names(cli, click.Context(cli))}
    assert "HEADEND_TITLE" in options, "or this compares with nothing"
    assert options.isdisjoint({hooks.JOB_ID, hooks.JOB_TITLE, hooks.JOB_STATE})


def test_a_hook_that_takes_too_long_is_stopped_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "HOOK_S", 0.5)
    pid = tmp_path / "pid"
    error = hooks.run(("sh", "-c", f"sleep 600 & echo $! > {pid}; wait"), b"", {})
    assert error is not None and "took longer than" in error
    wait_until(lambda: not psutil.pid_exists(int(pid.read_text())) or _is_dead(int(pid.read_text())))


def _is_dead(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_hook_with_endless_output_takes_no_memory_and_its_last_line_is_reported() -> None:
    program = "import sys\nfor _ in range(3000): sys.stderr.write('x' * 10000 + '\\n')\nsys.exit('the end')"
    assert hooks.run((sys.executable, "-c", program), b"y" * 200_000, {}) == "exit status 1: the end"


@pytest.mark.parametrize("command", [("/nowhere/hook",), ("a\0b",)])
def test_a_hook_that_can_not_be_started_becomes_a_dead_letter(command: tuple[str, ...]) -> None:
    store, waits = describe(make_job(), command)
    assert len(dead_letters(store)) == 1 and waits == []


def test_a_hook_that_fails_becomes_a_dead_letter() -> None:
    store, _ = describe(make_job(), (sys.executable, "-c", "import sys; sys.exit('no disk')"))
    assert dead_letters(store)[0].error == "exit status 1: no disk"


@pytest.mark.parametrize("wrong", ["ftp://a/b", "hook", "http://", "http://user:pass@host/", "javascript:alert(1)"])
def test_an_address_is_checked_when_the_job_is_queued(wrong: str) -> None:
    assert check_url("https://example.test/hook?key=1")
    with pytest.raises(ConfigError):
        check_url(wrong)


@pytest.mark.parametrize("wrong", ["short", "whsec_***", "whsec_YQ=="])
def test_a_weak_secret_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=SECRET_VARIABLE):
        secret_of(wrong)
