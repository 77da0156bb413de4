"""``headend verify``: read a release back and check every byte of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headend.app import verifying
from headend.app.cli import options
from headend.app.cli.encryption_options import key_settings_options
from headend.app.cli.exits import Status
from headend.app.cli.many_titles import FailureCollector
from headend.app.cli.parameters import ReleaseId
from headend.app.cli.progress_lines import repeated
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import count_text, printable
from headend.core import documents
from headend.core.errors import ConfigError, HeadendError
from headend.core.layout import check_title
from headend.core.settings import KeySettings, StoreSettings
from headend.core.storage import open_store
from packager import conformance, reading

COMPARING = "comparing with the master"
"""What is left when all segments are checked."""


@click.command(
    "verify",
    epilog=options.examples(
        "headend verify big-buck-bunny",
        "headend verify big-buck-bunny --deep",
        "headend verify big-buck-bunny --release 4c1f0d2e9b7a65830c1d --json",
        "headend verify film --keys film.keys",
        "headend verify --all --json",
    ),
)
@click.argument("titles", nargs=-1, metavar="[TITLE]...")
@click.option("--all", "everything", is_flag=True, help="Verify all published titles, one after another.")
@click.option("--release", type=ReleaseId(), metavar="ID", help="Verify this release instead of the current one.")
@key_settings_options(required=False)
@click.option("--deep", is_flag=True, help="Decode all segments instead of one of each rendition.")
@options.existing_store
@options.common
def command(
    titles: tuple[str, ...],
    everything: bool,
    release: str | None,
    keys: KeySettings | None,
    deep: bool,
    store: StoreSettings,
    as_json: bool,
) -> int:
    """Read a release back and check every byte of it.

    Checks digests and sizes, continuity of timestamps, frame counts, that all renditions have their sync frames at
    the same times, and that the manifests match the segments. Decodes a segment of each rendition and compares
    size, rate, depth, colour, HDR metadata, channels and language with the plan. If the master is still at its
    location, compares pictures and sound with it, in samples or, with --deep, completely. Lists all faults; the
    exit status is 1 if there are any.

    With several titles, or --all, a title that can't be read does not stop the others: it is reported, and the exit
    status is that of its error.

    To check the samples of an encrypted title, give --keys. They are decrypted both by this process and by FFmpeg's
    libraries, and the results must agree.
    """
    if bool(titles) == everything:
        raise ConfigError("name the titles to verify, or give --all for all of them")
    if release is not None and (everything or len(titles) > 1):
        raise ConfigError("--release is for one title: name one title, without --all")
    wanted = tuple(dict.fromkeys(map(check_title, titles)))
    opened = open_store(store)
    wanted = wanted or reading.published_titles(opened)
    collector = FailureCollector(len(wanted))
    rows, faulty, faults = [], 0, 0
    for number, title in enumerate(wanted, 1):
        place = f"title {number:,} of {len(wanted):,}, {title}" if len(wanted) > 1 else ""
        try:
            with checking(place) as shown:
                verdict = verifying.verify(
                    opened,
                    title,
                    release,
                    shown.check,
                    deep=deep,
                    endpoint_url=store.endpoint_url,
                    keys=keys,
                    on_compared=shown.compare,
                )
        except HeadendError as error:
            collector.fail(title, error)
            continue
        faulty, faults = faulty + bool(verdict.findings), faults + len(verdict.findings)
        if as_json:
            rows.append({"sound": not verdict.findings, **documents.as_plain(verdict)})
        else:
            _show(verdict, title=f"{title}: " if len(wanted) > 1 else "")
    if as_json:
        one = len(wanted) == 1 and not everything
        print_json(rows[0] if one else {"sound": not faulty and not collector.errors, "titles": rows})
    elif len(wanted) != 1:
        found = f"{count_text(faults, 'fault')} in {count_text(faulty, 'title')}" if faulty else "no faults"
        console().print(f"{count_text(len(wanted) - len(collector.errors), 'title')} verified: {found}")
    collector.end()
    return Status.FAULTY if faulty else Status.DONE


def _show(verdict: conformance.Verdict, title: str) -> None:
    """Print a verdict; ``title`` precedes the lines that don't name it themselves."""
    screen = console()
    for finding in verdict.findings:
        screen.print(printable(f"{finding.object}: {finding.message}"))
    for place in verdict.damage:
        screen.print(f"{title}concealed: damage of the master at {place}")
    if verdict.not_decoded:
        screen.print(f"{title}not decoded: {verdict.not_decoded}")
    if verdict.not_compared:
        screen.print(printable(f"{title}not compared with the master: {verdict.not_compared}"))
    screen.print(verdict_line(verdict))


def verdict_line(verdict: conformance.Verdict) -> str:
    """Format a verdict in one line."""
    outcome = count_text(len(verdict.findings), "fault") if verdict.findings else "no faults"
    return (
        f"{verdict.title}, release {verdict.release}: {outcome}; {count_text(verdict.objects, 'object')}, "
        f"{verdict.bytes:,} bytes and {count_text(verdict.frames, 'frame')} of picture checked, "
        f"{count_text(verdict.compared, 'segment')} compared with the master"
    )


@dataclass(slots=True)
class VerifyProgress:
    """How far a verification is.

    Attributes:
        place: What each line begins with, if there are several titles.
        on_change: Called after every change.
        checked: Number of checked segments and of all.
        compared: Number of segments that are compared with the master and of all that will be.
    """

    place: str = ""
    on_change: Callable[[], None] = lambda: None
    checked: tuple[int, int] = (0, 0)
    compared: tuple[int, int] = (0, 0)

    def check(self, done: int, total: int) -> None:
        """Note how many segments are checked."""
        self.checked = (done, total)
        self.on_change()

    def compare(self, done: int, total: int) -> None:
        """Note how many segments are compared with the master; it may go on when all are checked."""
        self.compared = (done, total)
        self.on_change()

    @property
    def only_compares(self) -> bool:
        """Whether all segments are checked."""
        done, total = self.checked
        return 0 < total == done

    def __str__(self) -> str:
        """One line."""
        done, total = self.checked
        text = f"checked {done:,} of {count_text(total, 'segment')}" if total else "reading the release"
        if self.only_compares:
            compared, all_compared = self.compared
            text += f", compared {compared:,} of {all_compared:,} with the master" if all_compared else f", {COMPARING}"
        return f"{self.place}: {text}" if self.place else text


@contextmanager
def checking(place: str = "") -> Iterator[VerifyProgress]:
    """Show the progress of a verification: as a bar on a terminal, as lines elsewhere.

    Args:
        place: What each line begins with, if there are several titles.
    """
    screen = console(stderr=True)
    if not screen.is_interactive:
        shown = VerifyProgress(place)
        with repeated(lambda: str(shown)):
            yield shown
        return
    prefix = f"{place}: " if place else ""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("segments"),
        console=screen,
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task(f"{prefix}checking", total=None)
        shown = VerifyProgress(place)

        def update() -> None:
            (done, total), what = (shown.compared, COMPARING) if shown.only_compares else (shown.checked, "checking")
            bar.update(task, completed=done, total=total or None, description=f"{prefix}{what}")

        shown.on_change = update
        yield shown
