"""``headend job``: show and control one job."""

import json
import time

import click

from headend.app.cli import options
from headend.app.cli.exits import Status
from headend.app.cli.parameters import FiniteRange
from headend.app.cli.queueing import patient_queue
from headend.app.cli.screen import console, facts, print_json, table
from headend.app.cli.wording import clock_text, count_text
from headend.app.jobs.model import Account, Job, State, Verb
from headend.app.jobs.plain import full_plain, spent
from headend.app.jobs.queue import Queue
from headend.core.errors import ConfigError
from headend.core.media import Current
from headend.core.prices import Prices
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import reading

ATTEMPTS_SHOWN = 20
"""Failed attempts that ``show`` lists."""
POLL_S = 1.0
"""How often ``wait`` polls."""
REPORT_EVERY_S = 30.0
"""How often ``wait`` writes a progress line if nothing changes."""
ENDED = {State.DONE: Status.DONE, State.FAILED: Status.ENCODING, State.CANCELLED: Status.INTERRUPTED}
"""Exit status of ``wait``."""


@click.group(
    "job",
    epilog=options.examples(
        "headend job show 20261128t201500123-1a2b3c",
        "headend job wait 20261128t201500123-1a2b3c --timeout 3600",
        "headend job cancel 20261128t201500123-1a2b3c",
        "headend job prioritise 20261128t201500123-1a2b3c 90",
    ),
)
def command() -> None:
    """Show one job, cancel it, or change its priority.

    'headend jobs' lists the ids.
    """


def _id(command: options.Command) -> options.Command:
    return click.argument("job", metavar="ID")(command)


@command.command("show", epilog=options.examples("headend job show 20261128t201500123-1a2b3c"))
@_id
@options.prices
@options.existing_store
@options.common
def show(job: str, prices: Prices, store: StoreSettings, as_json: bool) -> None:
    """Show a job: its state, history, progress and resource usage."""
    opened = open_store(store)
    queue = Queue(opened)
    current = queue.read(job)
    if as_json:
        print_json(full_plain(queue, current, prices))
        return
    screen = console()
    screen.print(facts(_facts(queue, current, prices, reading.read_pointer(opened, current.title))))
    screen.print()
    screen.print(table(("since", "state", "why"), ((c.at, c.state.value, c.why) for c in current.history)))
    if attempts := queue.attempts(current):
        rows = ((a.at, a.task, a.number, a.worker, a.error) for a in attempts[-ATTEMPTS_SHOWN:])
        screen.print(table(("failed at", "task", ">attempt", "worker", "error"), rows))
        if len(attempts) > ATTEMPTS_SHOWN:
            screen.print(f"the latest {ATTEMPTS_SHOWN} of {len(attempts):,}; 'headend job logs {job}' shows all")


@command.command("logs", epilog=options.examples("headend job logs 20261128t201500123-1a2b3c"))
@_id
@options.existing_store
@options.common
def logs(job: str, store: StoreSettings, as_json: bool) -> None:
    """Show a job's failed attempts.

    Lists each failed attempt at a task, with the end of the encoder's output.
    """
    queue = Queue(open_store(store))
    current = queue.read(job)
    attempts = queue.attempts(current)
    if as_json:
        rows = [
            {
                "task": a.task, "attempt": a.number, "worker": a.worker, "at": a.at, "error": a.error,
                "argv": list(a.argv), "stderr": a.stderr,
            }
            for a in attempts
        ]  # fmt: skip
        print_json({"job": current.id, "title": current.title, "attempts": rows})
        return
    screen = console()
    for attempt in attempts:
        where = f", on {attempt.worker}" if attempt.worker else ""
        screen.print(f"{attempt.at}  {attempt.task}, attempt {attempt.number}{where}: {attempt.error}")
        for line in attempt.stderr.strip().splitlines()[-10:]:
            screen.print(f"    {line}")
    if not attempts:
        screen.print(f"no attempt at a task of {current.title} failed")


def _send_command(job: str, store: StoreSettings, verb: Verb, *, as_json: bool, priority: int | None = None) -> None:
    after = Queue(open_store(store)).command(job, verb, priority=priority)
    if as_json:
        print_json(
            {"job": after.id, "state": after.state.value, "cancelling": after.cancelling, "priority": after.priority}
        )
    else:
        state = "is being cancelled" if after.cancelling else f"is {after.state}"
        console().print(f"job {after.id} ({after.title}) {state}, priority {after.priority}")


def _add_verb(name: str, verb: Verb, help: str) -> None:
    """Add a command that gives a job one of the verbs without an argument."""

    @command.command(name, help=help, epilog=options.examples(f"headend job {name} 20261128t201500123-1a2b3c"))
    @_id
    @options.existing_store
    @options.common
    def send(job: str, store: StoreSettings, as_json: bool) -> None:
        _send_command(job, store, verb, as_json=as_json)


_add_verb(
    "cancel",
    Verb.CANCEL,
    "Cancel a job.\n\n"
    "A waiting job is cancelled at once, a running one within seconds. Encoded parts stay in the store, so a retry "
    "continues from there.",
)
_add_verb("retry", Verb.RETRY, "Queue a failed or cancelled job again.\n\nEncoded parts are reused.")
_add_verb("hold", Verb.HOLD, "Hold a queued job, so that it does not start.")
_add_verb("release", Verb.RELEASE, "Release a held job, so that it can start.")


@command.command("prioritise", epilog=options.examples("headend job prioritise 20261128t201500123-1a2b3c 90"))
@_id
@click.argument("priority", type=click.IntRange(0, 100))
@options.existing_store
@options.common
def prioritise(job: str, priority: int, store: StoreSettings, as_json: bool) -> None:
    """Change a job's priority, 0 to 100; higher priorities go first."""
    _send_command(job, store, Verb.PRIORITISE, as_json=as_json, priority=priority)


@command.command(
    "wait",
    epilog=options.examples(
        "headend job wait 20261128t201500123-1a2b3c", "headend job wait 20261128t201500123-1a2b3c --timeout 3600"
    ),
)
@_id
@click.option("--timeout", "timeout_s", type=FiniteRange(min=0), metavar="S", help="Stop waiting after S seconds.")
@click.option("--json-lines", is_flag=True, help="Print one JSON object per change of the job.")
@options.prices
@options.existing_store
@options.common
def wait(
    job: str, timeout_s: float | None, json_lines: bool, prices: Prices, store: StoreSettings, as_json: bool
) -> int:
    """Wait until a job has ended.

    The exit status is 0 if it is done, 6 if its release is complete but fails the quality rules, 4 if it failed
    otherwise, 130 if it was cancelled, and 2 on a timeout.
    """
    queue = patient_queue(store)
    started_s = written_s = time.monotonic()
    before: tuple[object, ...] = ()
    while True:
        current = queue.read(job)
        now = (current.state, current.priority, current.status.progress)
        if json_lines and now != before:
            click.echo(json.dumps(full_plain(queue, current, prices)))
        elif not as_json and (now[:1] != before[:1] or time.monotonic() - written_s >= REPORT_EVERY_S):
            written_s = time.monotonic()
            console(stderr=True).print(f"headend: {_line(current)}")
        before = now
        if current.state.ended:
            if as_json:
                print_json(full_plain(queue, current, prices))
            # A failed job has a release only if the quality rules refused it.
            is_refused = current.state is State.FAILED and current.status.release
            return Status.QUALITY if is_refused else ENDED[current.state]
        if timeout_s is not None and time.monotonic() - started_s > timeout_s:
            raise ConfigError(
                f"job {job} is still {current.state} after {timeout_s:g} s: wait longer, "
                f"or see 'headend job show {job}'"
            )
        time.sleep(POLL_S)


def _line(job: Job) -> str:
    progress = job.status.progress
    parts = [f"job {job.id} ({job.title}) is {job.state}"]
    if progress and job.state.active:
        left = f"{clock_text(progress.left_s)} left" if progress.left_s is not None else "time left unknown"
        parts += [f"{progress.share:.0%}, {progress.tasks_done:,} of {count_text(progress.tasks, 'task')}", left]
    return ", ".join([*parts, *([job.why] if job.why else [])])


def _facts(queue: Queue, job: Job, prices: Prices, pointer: Current | None) -> list[tuple[str, object]]:
    progress, account = job.status.progress, job.status.account
    rows: list[tuple[str, object]] = [
        ("job", job.id),
        ("title", job.title),
        ("master", job.request.request.master),
        ("state", _line(job).partition(" is ")[2] + (", being cancelled" if job.cancelling else "")),
        ("priority", job.priority),
        ("submitted", f"{job.request.submitted_at} by {job.request.submitted_by}"),
    ]
    if job.request.labels:
        rows.append(("labels", ", ".join(f"{name}={value}" for name, value in job.request.labels)))
    if job.state is State.QUEUED:
        rows.append(("ahead", count_text(queue.ahead(job), "job")))
    if release := job.status.release:
        is_current = pointer is not None and pointer.release == release
        rows.append(("release", f"{release}, {'current' if is_current else 'not current'}"))
    elif job.request.request.hold:
        rows.append(("release", "will be held until 'headend publish' publishes it"))
    if progress:
        rows.append(
            (
                "tasks",
                f"{progress.tasks_done:,} of {progress.tasks:,} done, {progress.tasks_running:,} running, "
                f"{progress.tasks_waiting:,} waiting, {progress.retries:,} retried; "
                f"{count_text(progress.reused_parts, 'chunk')} of renditions reused",
            )
        )
        rows.append(("speed", f"{progress.frames_per_s:,.0f} frames/s, {progress.realtime:.2f} × real time"))
    if account.total_cpu_s:
        by_codec = ", ".join(f"{codec} {cpu_s:,.0f}" for codec, cpu_s in account.cpu_s)
        rows.append(
            (
                "CPU",
                f"{account.total_cpu_s:,.0f} s ({by_codec}; {account.failed_cpu_s:,.0f} in failed attempts), "
                f"{account.predicted_cpu_s:,.0f} s predicted{_prediction_error(account)}",
            )
        )
        rows.append(("cost", f"{spent(account, prices):,.4f} {prices.currency} by {prices.name} ({prices.as_of})"))
        rows.append(("stored", f"{account.stored_bytes:,} bytes in {count_text(account.put_requests, 'object')}"))
    return rows


def _prediction_error(account: Account) -> str:
    """Format the error of the prediction, without failed attempts."""
    if not account.predicted_cpu_s:
        return ""
    return f" ({(account.total_cpu_s - account.failed_cpu_s) / account.predicted_cpu_s - 1:+.0%})"
