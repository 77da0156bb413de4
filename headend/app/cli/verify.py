"""``headend verify``: read a release back and check every byte of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headend.app import verifying
from headend.app.cli import options
from headend.app.cli.encryption_options import key_settings_options
from headend.app.cli.exits import Status
from headend.app.cli.parameters import ReleaseId
from headend.app.cli.progress_lines import repeated
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import count_text, printable
from headend.core import documents
from headend.core.settings import KeySettings, StoreSettings
from headend.core.storage import open_store
from packager import conformance

COMPARING = "comparing with the master"
"""What is left when all segments are checked."""


@click.command(
    "verify",
    epilog=options.examples(
        "headend verify big-buck-bunny",
        "headend verify big-buck-bunny --deep",
        "headend verify big-buck-bunny --release 4c1f0d2e9b7a65830c1d --json",
        "headend verify film --keys film.keys",
    ),
)
@options.title_argument
@click.option("--release", type=ReleaseId(), metavar="ID", help="Verify this release instead of the current one.")
@key_settings_options(required=False)
@click.option("--deep", is_flag=True, help="Decode all segments instead of one of each rendition.")
@options.existing_store
@options.common
def command(
    title: str, release: str | None, keys: KeySettings | None, deep: bool, store: StoreSettings, as_json: bool
) -> int:
    """Read a release back and check every byte of it.

    Checks digests and sizes, continuity of timestamps, frame counts, that all renditions have their sync frames at
    the same times, and that the manifests match the segments. Decodes a segment of each rendition and compares
    size, rate, depth, colour, HDR metadata, channels and language with the plan. If the master is still at its
    location, compares pictures and sound with it, in samples or, with --deep, completely. Lists all faults; the
    exit status is 1 if there are any.

    To check the samples of an encrypted title, give --keys. They are decrypted both by this process and by FFmpeg's
    libraries, and the results must agree.
    """
    with checking() as on_progress:
        verdict = verifying.verify(
            open_store(store), title, release, on_progress, deep=deep, endpoint_url=store.endpoint_url, keys=keys
        )
    if as_json:
        print_json({"sound": not verdict.findings, **documents.as_plain(verdict)})
    else:
        screen = console()
        for finding in verdict.findings:
            screen.print(printable(f"{finding.object}: {finding.message}"))
        for place in verdict.damage:
            screen.print(f"concealed: damage of the master at {place}")
        if verdict.not_decoded:
            screen.print(f"not decoded: {verdict.not_decoded}")
        if verdict.not_compared:
            screen.print(printable(f"not compared with the master: {verdict.not_compared}"))
        screen.print(verdict_line(verdict))
    return Status.FAULTY if verdict.findings else Status.DONE


def verdict_line(verdict: conformance.Verdict) -> str:
    """Format a verdict in one line."""
    outcome = count_text(len(verdict.findings), "fault") if verdict.findings else "no faults"
    return (
        f"{verdict.title}, release {verdict.release}: {outcome}; {count_text(verdict.objects, 'object')}, "
        f"{verdict.bytes:,} bytes and {count_text(verdict.frames, 'frame')} of picture checked, "
        f"{count_text(verdict.compared, 'segment')} compared with the master"
    )


@contextmanager
def checking() -> Iterator[Callable[[int, int], None]]:
    """Show how many segments are checked: as a bar on a terminal, as lines elsewhere.

    The comparison with the master may go on when all of them are.
    """
    screen = console(stderr=True)
    checked = (0, 0)

    def line() -> str:
        done, total = checked
        if not total:
            return "reading the release"
        return f"checked {done:,} of {count_text(total, 'segment')}" + (f", {COMPARING}" if done == total else "")

    def count(done: int, total: int) -> None:
        nonlocal checked
        checked = (done, total)

    if not screen.is_interactive:
        with repeated(line):
            yield count
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("segments"),
        console=screen,
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda done, total: bar.update(
            task, completed=done, total=total, description=COMPARING if done == total else "checking"
        )
