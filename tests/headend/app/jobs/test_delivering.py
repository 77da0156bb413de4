import threading
from collections import Counter, defaultdict

from headend.app.jobs.delivering import ATTEMPTS, THREADS, Sender
from headend.app.jobs.notifying import Delivery, Message, Notifier
from headend.app.jobs.webhooks import Refusal
from headend.core.errors import StorageError
from headend.core.storage.memory import MemoryStore
from tests.support.waiting import PATIENCE_S, wait_until


class Post(Notifier):
    """Accepts messages, except to addresses that refuse them or never answer."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.sent: Counter[str] = Counter()
        self.settled: list[tuple[Message, str | None]] = []
        self.silent = threading.Event()
        self.store_is_away = False

    def send(self, message: Message) -> Refusal | None:
        self.sent[message.receiver] += 1
        if message.receiver == "silent":
            self.silent.wait(PATIENCE_S)
        if message.receiver == "away":
            return Refusal("no answer")
        if message.receiver == "broken":
            raise RuntimeError("not foreseen")
        self.taken[message.delivery.job].append(message.delivery.number)
        return None

    def settle(self, message: Message, error: str | None) -> None:
        if self.store_is_away:
            raise StorageError("away")
        self.settled.append((message, error))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_message(receiver: str, job: str = "job", number: int = 0) -> Message:
    return Message(Delivery(job, number, 0), receiver, f"{job}.{number}", "film", "queued", b"{}")


def run(sender: Sender, clock: Clock) -> float:
    """Run the sender until nothing is left; returns the time that it took."""
    while (idle_s := sender.step()) is not None:
        clock.now_s += idle_s
    return clock.now_s


def test_events_of_a_job_arrive_in_order_although_one_has_to_wait() -> None:
    post, clock = Post(), Clock()
    sender = Sender(post, clock=clock)
    sender.add(make_message("here", job, number) for number in range(3) for job in ("a", "b"))
    assert run(sender, clock) == 0
    assert post.taken == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_an_unreachable_receiver_delays_no_other_and_is_given_up_after_a_minute() -> None:
    post, clock = Post(), Clock()
    sender = Sender(post, clock=clock)
    sender.add([make_message("away", f"job{number}") for number in range(50)])
    sender.add([make_message("here")])
    while not post.taken:
        assert sender.step() == 0
    assert clock.now_s == 0
    assert run(sender, clock) == 2 + 4 + 8 + 16 + 32
    assert post.sent["away"] == 50 * ATTEMPTS
    assert [error for _, error in post.settled].count("no answer") == 50


def test_many_events_take_a_few_threads_and_silent_receivers_take_two_each() -> None:
    post = Post()
    sender = Sender(post)
    for number in range(200):
        sender.add([make_message("silent", f"s{number}"), make_message("here", f"h{number}")])
        sender.start()
    wait_until(lambda: len(post.taken) == 200)
    assert (sender.threads, post.sent["silent"]) == (THREADS, 2)
    post.silent.set()
    assert sender.wait(PATIENCE_S)
    assert len(post.settled) == 400


def test_a_delivered_event_is_not_sent_again_while_the_store_is_unreachable() -> None:
    post, clock = Post(), Clock()
    notices: list[str] = []
    sender = Sender(post, lambda _message, text: notices.append(text), clock)
    post.store_is_away = True
    sender.add([make_message("here")])
    for _ in range(6):
        clock.now_s += sender.step() or 0.0
    post.store_is_away = False
    run(sender, clock)
    assert (post.sent["here"], len(post.settled), len(notices)) == (1, 1, 1)


def test_an_unexpected_error_costs_one_event_and_no_thread() -> None:
    post, clock = Post(), Clock()
    notices: list[str] = []
    sender = Sender(post, lambda _message, text: notices.append(text), clock)
    sender.add([make_message("broken"), make_message("here", "other")])
    run(sender, clock)
    assert post.taken == {"other": [0]} and "unexpected RuntimeError" in notices[0]
    assert sender.wait(0)
