"""The command line ``headend``.

It prints results, for people or with ``--json`` for programs, on standard output, progress and errors on standard
error, and returns an exit status from `headend.app.cli.exits`. Each command is a module of its own, imported only when
it is called, so that ``headend --help`` is fast.
"""

import errno
import gc as garbage_collector  # `headend gc` is a module of this package
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from itertools import islice
from types import FrameType
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from headend import __version__
from headend.app.cli.exits import MEANING, Status, Terminated, status_of
from headend.app.cli.wording import evidence, printable, program
from headend.core.errors import HeadendError
from headend.core.paths import check_text
from headend.core.shortening import shortened
from headend.core.storage.masters import redact

COMMANDS = {
    "demo": "Encode a short film, check it, serve it and play it back.",
    "submit": "Encode a master and publish it as a title.",
    "jobs": "List the jobs of a store and their states.",
    "job": "Show one job, cancel it, or change its priority.",
    "dispatch": "Run the jobs of a store's queue on one cluster.",
    "watch": "Queue every master that is delivered into a folder.",
    "doctor": "Check FFmpeg, the store, scratch space and the cluster.",
    "serve": "Serve the titles of a store to players and caches.",
    "edge": "Cache an origin's titles near the players that ask for them.",
    "steer": "Tell players which edges to use, by content steering.",
    "token": "Issue a token that lets a viewer play a title.",
    "keys": "Make, list, check, export and serve content keys.",
    "probe": "Show what is in a master.",
    "ladder": "List, show and fit ladders.",
    "analyse": "Show the ladder that fits a master, by trial encodes.",
    "plan": "Show what submit would do in an empty store, without doing it.",
    "titles": "List the published titles of a store, page by page.",
    "show": "Show a title's renditions with their measured rates.",
    "quality": "Show the quality report of a release.",
    "verify": "Read a release back and check every byte of it.",
    "releases": "List the releases of a title.",
    "publish": "Make an existing release of a title the current one.",
    "edit": "Change a published title without encoding it again.",
    "protect": "Encrypt a published title without encoding it.",
    "unpublish": "Withdraw a title from players.",
    "delete": "Mark a release, or a whole title, for deletion.",
    "repackage": "Write new manifests for published titles.",
    "gc": "Remove releases and tracks that are no longer needed.",
    "config": "Show the configuration files, and what they set.",
    "simulate": "Simulate providers' caches, with players, links and costs.",
    "fill": "Plan which tracks edges hold tomorrow, from viewing logs.",
    "replay": "Replay the requests in a log with any cache policy.",
}
"""The commands, most used first, with the first line of their help."""


@dataclass(slots=True)
class Invocation:
    """The state of one invocation; it is available even if parsing fails.

    Attributes:
        verbose: Whether to print the details of errors.
        args: The command line's arguments.
        collected: If set, ``submit`` appends its parsed request here instead of carrying it out.
    """

    verbose: bool = False
    args: tuple[str, ...] = ()
    collected: list[Any] | None = None


class _BrokenPipe(Exception):
    """A broken pipe, hidden from click, which would exit with status 1."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _hiding_broken_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _BrokenPipe(error) from error


class _Commands(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _hiding_broken_pipes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _hiding_broken_pipes():
            return super().invoke(ctx)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # Imports leave no garbage, and collecting takes a seventh of their time.
        garbage_collector.disable()
        try:
            command: click.Command = import_module(f"headend.app.cli.{cmd_name}").command
        finally:
            garbage_collector.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name and command:
            from headend.app.cli.configuring import configure, option_names, profile_of

            ctx.default_map = {name: configure(command, profile_of(ctx), lambda: option_names(self, ctx))}
        return name, command, rest

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), meaning) for status, meaning in MEANING.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="headend")
@click.option(
    "--profile",
    metavar="NAME",
    envvar="HEADEND_PROFILE",
    show_envvar=True,
    expose_value=False,
    callback=lambda ctx, _param, value: ctx.meta.__setitem__("headend.profile", value),
    help="Use the options of a profile in headend.toml; may also follow COMMAND.",
)
def cli() -> None:
    """Encode a film master into a ladder of renditions, and serve them as HLS and DASH.

    Start with 'headend demo'. 'headend COMMAND --help' explains a command.
    """


def main() -> NoReturn:
    """Run the command with this process's arguments, and exit."""
    signal.signal(signal.SIGTERM, _terminate)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings are for developers
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal can't encode must not abort a job.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run the command; every error becomes one line on standard error and an exit status."""
    invocation = Invocation(args=tuple(args))
    try:
        for word in args:
            check_text(word)
        status = cli.main(_profile_first(args), prog_name="headend", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Status.USAGE_ERROR
    except click.ClickException as error:
        return _usage_error(error)
    except click.Abort as error:
        return _interrupted(error.__cause__ or KeyboardInterrupt())
    except KeyboardInterrupt as error:
        return _interrupted(error)
    except HeadendError as error:
        return _failed(error, invocation)
    except _BrokenPipe as error:
        return _pipe_closed() if _reader_has_gone() else _unexpected(error.error, invocation)
    except BrokenPipeError:
        return _pipe_closed()
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _print_error(f"error: {error.filename!r} is too long for a path here; give a shorter one")
            return Status.USAGE_ERROR
        return _unexpected(error, invocation)
    return status if isinstance(status, int) else Status.DONE


def _profile_first(args: Sequence[str]) -> list[str]:
    """Move ``--profile`` before the command, because the command's options depend on it."""
    profile: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            others += [word, *words]
        elif word == "--profile":
            profile = [word, *islice(words, 1)]
            if len(profile) == 1:
                return profile  # the name is missing; click reports it
        elif word.startswith("--profile="):
            profile = [word]
        else:
            others.append(word)
    return [*profile, *others]


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _usage_error(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = program() + (context.command_path.removeprefix("headend") if context else "")
    _print_error(f"error: {error.format_message()} Try '{path} --help'.")
    return Status.USAGE_ERROR


def _interrupted(error: BaseException) -> int:
    status = status_of(error)
    _print_error(MEANING[status])
    return status


def _reader_has_gone() -> bool:
    """Whether standard output or error is a pipe that nothing reads any more."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    return any(happened & select.POLLERR for _, happened in poll.poll(0))


def _pipe_closed() -> int:
    """Drop what is left to print, so that Python's own flush at the end does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return Status.PIPE_CLOSED


def _failed(error: HeadendError, invocation: Invocation) -> int:
    _print_error(f"error: {error.message}")
    if invocation.verbose:
        click.echo(evidence(error), err=True, nl=False)
    return status_of(error)


def _unexpected(error: Exception, invocation: Invocation) -> int:
    _print_error(f"error: unexpected {type(error).__name__}: {error}; run again with --verbose and report the output")
    if invocation.verbose:
        click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
    return Status.UNEXPECTED


def _print_error(text: str) -> None:
    """Print one line on standard error; hostile file names and signed URLs in the text are made safe."""
    click.echo(f"headend: {printable(shortened(redact(text)))}", err=True)
