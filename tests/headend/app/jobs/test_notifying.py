import base64
import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headend.app.jobs.events import SECRET_VARIABLE, secret_of
from headend.app.jobs.model import Job, Status, fold
from headend.app.jobs.notifying import Notifier, check_url, dead_letters
from headend.core.errors import ConfigError
from headend.core.storage.memory import MemoryStore
from tests.headend.app.jobs.makers import make_job_request

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Receiver:
    """A webhook receiver that answers with the statuses it was given, then 204."""

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
        """The states that were told, in order, repeats left out."""
        events = {headers["webhook-id"]: json.loads(body) for headers, body in list(self.requests)}
        return [event["data"]["state"] for event in events.values()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(*getattr(request, "param", ()))
    yield made
    made.close()


def make_job(*urls: str) -> Job:
    return fold(replace(make_job_request(), notify=urls, labels=(("season", "2"),)), Status(), ())


def describe(job: Job, hook: tuple[str, ...] = ()) -> tuple[MemoryStore, list[float]]:
    store, waits = MemoryStore(), list[float]()
    notifier = Notifier(store, hook, sleep=waits.append)
    for delivery in notifier.announce(job, 0):
        notifier.deliver(job, delivery)
    assert notifier.outbox() == ()
    return store, waits


def test_an_event_is_a_signed_cloudevent(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    store, _ = describe(make_job(receiver.url))
    [(headers, body)] = receiver.requests
    told = json.loads(body)
    assert (told["specversion"], told["type"], told["subject"]) == (
        "1.0",
        "headend.job.queued",
        "20261128t200000000-00000a",
    )
    assert told["data"]["title"] == "film" and told["data"]["labels"] == {"season": "2"}
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
def test_what_a_receiver_does_not_want_goes_to_the_dead_letters_at_once(receiver: Receiver) -> None:
    store, waits = describe(make_job(receiver.url))
    [letter] = dead_letters(store)
    assert waits == [] and letter.error == "status 410"
    assert letter.url == receiver.url.partition("?")[0], "the query may be a secret"


def test_a_receiver_that_is_not_there_costs_a_dead_letter_and_no_job() -> None:
    store, waits = describe(make_job("http://127.0.0.1:9/hook"))
    assert len(waits) == 5
    assert "no answer from 127.0.0.1" in dead_letters(store)[0].error


def test_what_was_announced_stays_in_the_outbox_until_it_is_delivered(receiver: Receiver) -> None:
    store, job = MemoryStore(), make_job(receiver.url, "http://127.0.0.1:9/hook")
    announced = Notifier(store).announce(job, 0)
    assert len(announced) == 2

    later = Notifier(store, sleep=lambda _: None)
    assert later.outbox() == announced
    later.deliver(job, announced[0])
    assert (later.outbox(), len(receiver.requests)) == (announced[1:], 1)
    later.deliver(job, announced[1])
    assert (later.outbox(), [letter.number for letter in dead_letters(store)]) == ((), [0])


def test_the_hook_gets_the_event_and_never_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    out = tmp_path / "out.json"
    program = (
        "import json,os,sys;"
        f"open({str(out)!r},'w').write(json.dumps([json.load(sys.stdin),os.environ['HEADEND_JOB'],"
        f"{SECRET_VARIABLE!r} in os.environ]))"
    )
    store, _ = describe(make_job(), (sys.executable, "-c", program))
    told, job, leaked = json.loads(out.read_text())
    assert (told["subject"], job, leaked) == ("20261128t200000000-00000a", "20261128t200000000-00000a", False)
    assert dead_letters(store) == ()


def test_a_hook_that_fails_is_on_the_list() -> None:
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
