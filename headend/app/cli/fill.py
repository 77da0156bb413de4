"""``headend fill``: plan which tracks live edges fetch in advance."""

from pathlib import Path

import click

from cdn_sim import fill_plans
from cdn_sim.fill_plans import TrackSize
from cdn_sim.request_logs import reading
from cdn_sim.scenario import parse
from headend.app.cli import options
from headend.app.cli.progress_lines import reading_progress
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import count_text
from headend.core import documents
from headend.core.errors import ConfigError
from headend.core.files import write_whole
from headend.core.settings import StoreSettings


@click.group(
    "fill",
    epilog=options.examples("headend fill plan edge-1.decisions edge-2.decisions --edges metro.toml --out plans"),
)
def command() -> None:
    """Plan which tracks edges hold tomorrow, from viewing logs."""


def _expected(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    views_by_title = {}
    for value in values:
        title, _, views = value.partition("=")
        try:
            views_by_title[title] = float(views)
        except ValueError:
            views_by_title[title] = -1.0
        if not title or not 0 <= views_by_title[title] < 1e12:
            raise click.BadParameter(f"{value!r} is not a title with its expected views, such as film=2000.")
    return views_by_title


@command.command(
    "plan",
    epilog=options.examples(
        "headend fill plan edge-1.decisions edge-2.decisions --edges metro.toml --out plans",
        "headend fill plan *.decisions --edges metro.toml --store s3://films/vod --expect premiere=5000 --out plans",
    ),
)
@click.argument("logs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--edges",
    "scenario_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Scenario with the providers, disks, planned share of each disk, and fill window.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the plans.")
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    help="Store with the titles, for exact sizes of tracks. Without it, sizes are those of the segments in the logs.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    callback=_expected,
    metavar="TITLE=VIEWS",
    help="A new title and its expected number of complete views; repeatable.",
)
@options.endpoint
@options.common
def plan(
    logs: tuple[Path, ...],
    scenario_file: Path,
    out: Path,
    store_url: str | None,
    expected: dict[str, float],
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Write a plan for each edge, from the decision logs or access logs of recent days.

    Forecasts the views of each track, with more weight on recent days. Each edge gets the tracks with the most
    forecast views per stored byte, up to the planned share of its disk. 'headend edge --fill' fetches them during
    the fill window.
    """
    try:
        scenario = parse(scenario_file.read_text(encoding="utf-8"), scenario_file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--edges {scenario_file} can't be read: {error}") from error
    if not any(scenario.edge_of(isp).pinned > 0 for isp in scenario.isps):
        raise ConfigError(f"{scenario_file.name}: edge.pinned is 0, so nothing is planned; set it to 0.8, for example")
    tracks, history, track_sizes = fill_plans.views_by_day(
        reading.read(log, reading_progress(log), may_have_none=True) for log in logs
    )
    if store_url is not None:
        from headend.app.cli.segment_sizes import stored_tracks

        settings = StoreSettings(options.absolute(store_url), endpoint_url)
        sizes = stored_tracks(settings, {title for title, _ in tracks} | set(expected))
        track_sizes = track_sizes | {track: TrackSize(*size) for track, size in sizes.items()}
    plans = fill_plans.plan(scenario, tracks, history, track_sizes, expected)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for fill_plan in plans:
            write_whole(out / f"{fill_plan.edge.replace('/', '-')}.json", documents.write(fill_plan))
    except OSError as error:
        raise ConfigError(f"--out {out} can't be written: {error.strerror or error}") from error
    if as_json:
        print_json({"plans": [documents.as_plain(fill_plan) for fill_plan in plans]})
        return
    screen = console()
    rows = (
        (
            fill_plan.edge,
            f"{len(fill_plan.items):,}",
            f"{sum(item.bytes for item in fill_plan.items) / 1e9:,.1f} GB",
            f"{fill_plan.budget_bytes / 1e9:,.1f} GB",
            f"{fill_plan.late_bytes / 1e9:,.1f} GB",
        )
        for fill_plan in plans
    )
    screen.print(table(("edge", ">tracks", ">planned", ">limit", ">late with an empty disk"), rows))
    screen.print(f"{count_text(len(plans), 'plan')} in {out}, from {count_text(len(history), 'day')} of requests")
