"""Options that several commands share."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from headend.app.cli.parameters import Duration, FiniteRange
from headend.core.errors import ConfigError
from headend.core.layout import check_title
from headend.core.paths import expanded
from headend.core.prices import DEFAULT as DEFAULT_PRICES
from headend.core.prices import load as load_prices
from headend.core.settings import (
    DEFAULT_LADDER,
    DEFAULT_STORE,
    DEFAULT_STORE_PATIENCE_S,
    DEFAULT_WAIT_FOR_WORKERS_S,
    ClusterSettings,
    StoreSettings,
)

Command = Callable[..., Any]


def _existing_folder(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not expanded(value).is_dir():
        raise click.BadParameter(f"there is no folder {value!r}; create it first.")
    return absolute(value)


def examples(*lines: str) -> str:
    """Format examples for the end of a command's help; the backspace makes click keep the lines."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def absolute(address: str) -> str:
    """Make a path absolute, because workers run in other folders; leave URLs unchanged."""
    return address if not address or "://" in address else str(expanded(address))


def _set_verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if ctx.obj is not None and value:
        ctx.obj.verbose = True


def _checked_title(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else check_title(value)


def common(command: Command) -> Command:
    """Add ``--json`` (given to the command as ``as_json``) and ``--verbose``."""
    command = click.option(
        "--verbose",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_verbose,
        help="Show the details of errors.",
    )(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")(
        command
    )


def address(host: str, port: int) -> Callable[[Command], Command]:
    """Add ``--host`` and ``--port`` with these defaults, for commands that listen."""

    def add(command: Command) -> Command:
        command = click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port to listen on; 0 for a free one.",
        )(command)
        return click.option("--host", default=host, show_default=True, help="Address to listen on.")(command)

    return add


def linger(command: Command) -> Command:
    """Add ``--linger``, given to the command as ``linger_s``."""
    return click.option(
        "--linger",
        "linger_s",
        type=FiniteRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="How long to keep serving after SIGTERM, while /readyz returns 503. [default: 0]",
    )(command)


def master(command: Command) -> Command:
    """Add the argument MASTER."""
    return click.argument("master", callback=lambda _ctx, _param, value: absolute(value))(command)


def title(command: Command) -> Command:
    """Add ``--title``; it is checked before other options."""
    return click.option(
        "--title",
        required=True,
        metavar="SLUG",
        callback=_checked_title,
        is_eager=True,
        help="The title's name in the catalogue: a-z, 0-9 and '-' only.",
    )(command)


def title_argument(command: Command) -> Command:
    """Add the argument TITLE."""
    return click.argument("title", callback=_checked_title)(command)


def endpoint(command: Command) -> Command:
    """Add ``--s3-endpoint``."""
    return click.option(
        "--s3-endpoint",
        "endpoint_url",
        metavar="URL",
        envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        show_envvar=True,
        help="S3 server for s3:// addresses, if not AWS.",
    )(command)


def store(command: Command) -> Command:
    """Add ``--store`` and ``--s3-endpoint``; the command gets both as ``store``, a `StoreSettings`."""

    @click.option(
        "--store",
        "store_url",
        metavar="URL",
        envvar="HEADEND_STORE",
        default=DEFAULT_STORE,
        show_envvar=True,
        show_default=True,
        help="Where titles are: a folder or s3://bucket/prefix.",
    )
    @endpoint
    @wraps(command)
    def wrapped(*, store_url: str, endpoint_url: str | None, **others: Any) -> Any:
        return command(store=StoreSettings(absolute(store_url), endpoint_url), **others)

    return wrapped


def existing_store(command: Command) -> Command:
    """Add the same as `store`, for commands that need an existing store: a missing folder is an error.

    Raises:
        ConfigError: There is no store at the address.
    """

    @store
    @wraps(command)
    def wrapped(*, store: StoreSettings, **others: Any) -> Any:
        if "://" not in store.url and not Path(store.url).is_dir():
            raise ConfigError(f"there is no store at {store.url}: check --store, or create one with 'headend submit'")
        return command(store=store, **others)

    return wrapped


def ladder(command: Command) -> Command:
    """Add ``--ladder``."""
    return click.option(
        "--ladder",
        default=DEFAULT_LADDER,
        show_default=True,
        metavar="NAME|FILE",
        help="A ladder's name, or a TOML file.",
    )(command)


def _stronger(one: str, other: str) -> str | None:
    """Return which of two exclusive options comes from the source with precedence; None if from the same one."""
    ctx = click.get_current_context()
    places = [ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE]
    first, second = (
        places.index(found) if (found := ctx.get_parameter_source(name)) in places else -1 for name in (one, other)
    )
    if first == second:
        return None
    return one if first > second else other


def cluster(command: Command) -> Command:
    """Add the choice of the cluster; the command gets it as ``cluster``, a `ClusterSettings`."""

    @click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Encode with N processes on this machine, instead of one per core.",
    )
    @click.option("--scheduler", metavar="ADDR", help="Encode on a running Dask cluster, such as tcp://10.0.0.5:8786.")
    @wraps(command)
    def wrapped(*, workers: int | None, scheduler: str | None, **others: Any) -> Any:
        if workers and scheduler:
            stronger = _stronger("workers", "scheduler")
            if stronger is None:
                raise ConfigError("--workers starts a local cluster, --scheduler uses a running one: give one of them")
            workers, scheduler = (workers, None) if stronger == "workers" else (None, scheduler)
        return command(cluster=ClusterSettings(scheduler, workers), **others)

    return wrapped


def scratch(command: Command) -> Command:
    """Add ``--scratch`` to the command's ``cluster``; apply it below `cluster`."""

    @click.option(
        "--scratch",
        metavar="DIR",
        callback=_existing_folder,
        help="Folder for scratch files of encoding on this machine; workers of a cluster use --local-directory.",
    )
    @wraps(command)
    def wrapped(*, scratch: str | None, cluster: ClusterSettings, **others: Any) -> Any:
        return command(cluster=replace(cluster, scratch=scratch), **others)

    return wrapped


def running(command: Command) -> Command:
    """Add scratch space and waiting times to the command's ``store`` and ``cluster``; apply it below these two."""

    @scratch
    @click.option(
        "--wait-for-workers",
        "wait_for_workers_s",
        type=Duration(),
        default=f"{DEFAULT_WAIT_FOR_WORKERS_S / 60:.0f}m",
        show_default=True,
        help="How long to wait while the cluster has no worker that can run a task.",
    )
    @click.option(
        "--store-patience",
        "patience_s",
        type=Duration(),
        default=f"{DEFAULT_STORE_PATIENCE_S / 60:.0f}m",
        show_default=True,
        help="How long to retry while the store can't be reached.",
    )
    @wraps(command)
    def wrapped(
        *,
        wait_for_workers_s: float,
        patience_s: float,
        store: StoreSettings,
        cluster: ClusterSettings,
        **others: Any,
    ) -> Any:
        return command(
            store=replace(store, patience_s=patience_s),
            cluster=replace(cluster, wait_for_workers_s=wait_for_workers_s),
            **others,
        )

    return wrapped


def prices(command: Command) -> Command:
    """Add ``--prices``; the command gets a `headend.core.prices.Prices`."""
    return click.option(
        "--prices",
        default=DEFAULT_PRICES,
        show_default=True,
        metavar="NAME|FILE",
        callback=lambda _ctx, _param, value: load_prices(value),
        help="Prices of CPU, storage and requests: an example that comes with headend, or your own TOML file.",
    )(command)
