"""``headend simulate``: simulate caches, links and players."""

import csv
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec

from cdn_sim import compiling, parallel, scenario, viewing
from cdn_sim.accounting import Tally
from cdn_sim.catalogue import StoredTitle
from cdn_sim.model import Scenario
from cdn_sim.report import document, drawing, exposition, page
from cdn_sim.results import METRICS, Results, Run
from cdn_sim.scenario import BASE
from headend.app.cli import options
from headend.app.cli.exits import status_of
from headend.app.cli.parameters import FiniteRange
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import clock_text, count_text
from headend.core.errors import ConfigError
from headend.core.files import write_whole
from headend.core.settings import ClusterSettings, StoreSettings

DEFAULT_FOLDER = "simulations"
_SHOWN = (
    "byte_hit_ratio",
    "offload",
    "transit_p95_mbps",
    "fill_share_of_misses",
    "mean_kbps",
    "stall_ratio",
    "start_ms",
    "cost_month",
)


@click.command(
    "simulate",
    epilog=options.examples(
        "headend simulate smoke",
        "headend simulate metro --workers 4",
        "headend simulate metro --show > mine.toml",
        "headend simulate mine.toml --only reactive --seed 7 --out reports/mine",
        "headend simulate mine.toml --scheduler tcp://10.0.0.5:8786 --json | jq .alternatives",
        "headend simulate live-small --live --store s3://films/vod --seconds 120",
    ),
)
@click.argument("name", metavar="SCENARIO")
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, help="Only this seed; repeatable.")
@click.option("--only", "alternatives", multiple=True, metavar="ALTERNATIVE", help="Only this alternative; repeatable.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes on this machine.  [default: cores]")
@click.option("--scheduler", metavar="ADDR", help="Simulate on a running Dask cluster, such as tcp://10.0.0.5:8786.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder for report.html, report.json and figures.prom.  [default: {DEFAULT_FOLDER}/NAME]",
)
@click.option("--show", is_flag=True, help="Only print the scenario as TOML, as a start for your own.")
@click.option(
    "--store", "store_url", metavar="URL", help="Store with the releases, instead of the scenario's catalogue.store."
)
@click.option(
    "--live",
    is_flag=True,
    help="Play a slice of the scenario in real time, with a real origin, shields, edges, steering server and HTTP "
    "clients, over shaped links on loopback.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1, 86_400),
    default=60.0,
    show_default=True,
    help="With --live: how long to play, starting at the scenario's first event or, if there is none that can be "
    "played live, in its busiest hour.",
)
@options.endpoint
@options.common
def command(
    name: str,
    seeds: tuple[int, ...],
    alternatives: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    show: bool,
    store_url: str | None,
    live: bool,
    seconds: float,
    endpoint_url: str | None,
    as_json: bool,
) -> int:
    """Simulate providers' caches, with players, links and costs.

    SCENARIO is a TOML file, or a built-in scenario: smoke, metro, premiere, brown-out, live-small. Each alternative of
    the scenario is run with each seed; the report compares them, with 95 % intervals. The same seed gives the same
    report on any number of workers. Ctrl-C stops early and keeps complete runs.

    With --live, only viewers and links are simulated: releases of a store are played through real servers on this
    machine, and the report has the same figures. The folder of the report also gets the edges' decision logs, which
    'headend replay' reads.
    """
    if workers and scheduler:
        raise ConfigError("--workers starts a local cluster, --scheduler uses a running one: give one of them")
    text = _text(name)
    if show:
        scenario.parse(text, name)
        click.echo(text, nl=False)
        return 0
    variants = _chosen(scenario.variants(text, name), alternatives, seeds)
    if store_url:
        variants = {key: _with_store(variant, store_url) for key, variant in variants.items()}
    base = next(iter(variants.values()))
    if live and (workers or scheduler or len(alternatives) > 1 or len(seeds) > 1):
        raise ConfigError(
            "--live plays one alternative with one seed on this machine: give --only and --seed at most once, and "
            "neither --workers nor --scheduler"
        )
    if not as_json:
        drawing.ready()
    target = out or Path(DEFAULT_FOLDER) / (f"{base.name}-live" if live else base.name)
    if not as_json or out:
        _make_folder(target)
    stopped: KeyboardInterrupt | None
    if live:
        results, stopped = _play(base, endpoint_url, seconds, None if as_json and not out else target)
    else:
        titles = _stored_titles(base, endpoint_url)
        settings = ClusterSettings(scheduler, workers or len(os.sched_getaffinity(0)))
        results, stopped = _run(variants, titles, _traces(variants), settings)
    if not results.runs:
        raise stopped or ConfigError("nothing was simulated")
    if not as_json or out:
        _write(results, target, pictures=not as_json)
    if as_json:
        print_json(document.document(results))
    else:
        _show(results, target)
    if stopped:
        what = "early" if live else f"with {count_text(results.missing, 'run')} missing"
        kept = "the results until then" if live else "complete runs"
        where = f"; {kept} are in {target}" if not as_json or out else ""
        click.echo(f"headend: stopped {what}{where}", err=True)
        return status_of(stopped)
    return 0


def _text(name: str) -> str:
    if name in scenario.presets():
        return scenario.preset_text(name)
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(scenario.presets())
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"scenario {name} can't be read: {why}. Give a TOML file, or one of {known}") from error


def _chosen(
    variants: dict[str, Scenario], alternatives: tuple[str, ...], seeds: tuple[int, ...]
) -> dict[str, Scenario]:
    for wanted in alternatives:
        if wanted not in variants:
            raise ConfigError(f"there is no alternative {wanted!r}; use one of {', '.join(variants)}")
    chosen = {name: variant for name, variant in variants.items() if not alternatives or name in alternatives}
    if seeds:
        chosen = {name: msgspec.structs.replace(variant, seeds=tuple(seeds)) for name, variant in chosen.items()}
    return chosen


def _with_store(given: Scenario, url: str) -> Scenario:
    return msgspec.structs.replace(given, catalogue=msgspec.structs.replace(given.catalogue, store=url))


def _play(
    base: Scenario, endpoint_url: str | None, seconds: float, target: Path | None
) -> tuple[Results, KeyboardInterrupt | None]:
    """Play a slice live; write the decision logs to the report's folder, if there is one."""
    from cdn_sim.live import playing

    if not base.catalogue.store:
        raise ConfigError("--live plays the releases of a store: give --store URL, or set catalogue.store")
    began_s = time.monotonic()

    def on_progress(text: str) -> None:
        click.echo(f"  {clock_text(time.monotonic() - began_s)}  {text}", err=True)

    with ExitStack() as stack:
        folder = target or Path(stack.enter_context(TemporaryDirectory()))
        wanted = playing.Slice(
            base, options.absolute(base.catalogue.store), endpoint_url, base.seeds[0], seconds, folder / "decisions"
        )
        results, is_stopped = playing.play(wanted, on_progress)
    return results, KeyboardInterrupt() if is_stopped else None


def _stored_titles(base: Scenario, endpoint_url: str | None) -> tuple[StoredTitle, ...]:
    if not base.catalogue.store:
        return ()
    from headend.app.cli.segment_sizes import stored_titles

    return stored_titles(StoreSettings(options.absolute(base.catalogue.store), endpoint_url))


def _traces(variants: dict[str, Scenario]) -> dict[str, list[float]]:
    """Read the traces of relative link rates that access classes name: the last column of each CSV file."""
    found: dict[str, list[float]] = {}
    for variant in variants.values():
        for access in variant.viewers.access:
            if access.trace and access.trace not in found:
                try:
                    with Path(access.trace).open(newline="", encoding="utf-8") as stream:
                        found[access.trace] = [float(row[-1]) for row in csv.reader(stream) if row]
                except (OSError, ValueError) as error:
                    raise ConfigError(f"viewers.access: trace {access.trace} can't be read: {error}") from error
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise ConfigError(f"--out {folder} can't be written: {error.strerror or error}") from error


def _run(
    variants: dict[str, Scenario],
    stored_titles: Sequence[StoredTitle],
    traces: dict[str, list[float]],
    settings: ClusterSettings,
) -> tuple[Results, KeyboardInterrupt | None]:
    todo = parallel.tasks(variants)
    if settings.scheduler is None:
        _check_memory(variants.values(), min(settings.workers or 1, len(todo)))
    began_s = last_s = time.monotonic()
    if compiling.COMPILES and not compiling.is_warm():
        click.echo("headend: compiling the simulation, once for this installation: about half a minute", err=True)
    elif not compiling.COMPILES:
        click.echo("headend: without numba this takes a hundred times longer: pip install 'headend[sim]'", err=True)

    def on_progress(text: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= 5:
            last_s = now_s
            click.echo(f"  {clock_text(now_s - began_s)}  {text}", err=True)

    done: dict[tuple[str, int], dict[int, Tally]] = {}
    stopped = None
    try:
        for task, tally in parallel.run(
            todo,
            workers=settings.workers or 1,
            scheduler=settings.scheduler,
            stored_titles=stored_titles,
            traces=traces,
            on_progress=on_progress,
        ):
            done.setdefault((task.alternative, task.seed), {})[task.isp] = tally
    except KeyboardInterrupt as error:
        stopped = error
    runs = tuple(
        Run(name, seed, tuple(tallies[isp] for isp in sorted(tallies)))
        for (name, seed), tallies in sorted(
            done.items(), key=lambda item: (list(variants).index(item[0][0]), item[0][1])
        )
        if len(tallies) == len(variants[name].isps)
    )
    wanted = sum(len(variant.seeds) for variant in variants.values())
    synthetic_s = next(iter(variants.values())).catalogue.segment_s
    segment_ms = (stored_titles[0].segment_s if stored_titles else synthetic_s) * 1000
    if BASE not in variants:
        variants = {BASE: next(iter(variants.values())), **variants}
    return Results(variants, runs, segment_ms, wanted - len(runs)), stopped


def _check_memory(variants: Iterable[Scenario], concurrent_runs: int) -> None:
    """Raise ConfigError if the runs need more memory than this machine has."""
    least_bytes = max(map(viewing.least_bytes, variants)) * concurrent_runs
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if least_bytes > memory_bytes:
        runs = count_text(concurrent_runs, "run")
        raise ConfigError(
            f"viewers.sessions_per_day: {runs} at once would take {least_bytes / 1e9:,.0f} GB or more, and this "
            f"machine has {memory_bytes / 1e9:,.0f}: simulate fewer sessions, or give fewer --workers"
        )


def _write(results: Results, folder: Path, *, pictures: bool) -> None:
    texts = {"report.json": document.text(results), "figures.prom": exposition.text(results)}
    if pictures:
        texts["report.html"] = page.page(results)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())


def _show(results: Results, folder: Path) -> None:
    known = {metric.key: metric for metric in METRICS}
    rows: list[list[Any]] = []
    for key in _SHOWN:
        if results.played_s is not None and key in ("fill_share_of_misses", "cost_month"):
            continue
        cells = []
        for name in results.alternatives:
            mean, half = results.mean(name, key)
            interval = f" ± {page.value_text(known[key], half)}" if half else ""
            cells.append(page.value_text(known[key], mean) + interval)
        rows.append([known[key].title, *cells])
    screen = console()
    screen.print(table(("", *(f">{name}" for name in results.alternatives)), rows))
    screen.print(f"report: {folder / 'report.html'}")
