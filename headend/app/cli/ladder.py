"""``headend ladder``: list, show and fit ladders."""

from dataclasses import replace

import click

from encoder import planning
from headend.app import deciding
from headend.app.cli import encode_options, options
from headend.app.cli.describing import planned_table
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import count_text
from headend.core import documents
from headend.core.settings import EncodeSettings, StoreSettings
from ladders import loading


@click.group(
    "ladder",
    epilog=options.examples("headend ladder list", "headend ladder show web", "headend ladder fit studio film.mov"),
)
def command() -> None:
    """List, show and fit ladders.

    A ladder is the list of sizes and rates that titles are encoded in. The ladders that come with headend have names;
    your own are TOML files of the same form.
    """


@command.command("list", epilog=options.examples("headend ladder list", "headend ladder list --json"))
@options.common
def list_ladders(as_json: bool) -> None:
    """List the ladders that come with headend."""
    ladders = [loading.load(name) for name in loading.presets()]
    if as_json:
        print_json(
            {
                "ladders": [
                    {
                        "name": rungs.name,
                        "summary": rungs.summary,
                        "video_rungs": len(rungs.video),
                        "audio_rungs": len(rungs.audio),
                    }
                    for rungs in ladders
                ]
            }
        )
        return
    console().print(
        table(
            ("ladder", ">video", ">audio", "summary"),
            ((rungs.name, len(rungs.video), len(rungs.audio), rungs.summary) for rungs in ladders),
        )
    )


@command.command(
    "show", epilog=options.examples("headend ladder show studio", "headend ladder show ./my-ladder.toml --json")
)
@click.argument("ladder", metavar="NAME|FILE")
@options.common
def show_ladder(ladder: str, as_json: bool) -> None:
    """Show the rungs of a ladder, before it is fitted to a master."""
    loaded = loading.load(ladder)
    if as_json:
        print_json(documents.as_plain(loaded))
        return
    screen = console()
    screen.print(f"{loaded.name}: {loaded.summary}")
    screen.print("Rates are kb/s at 30 frames/s.")
    screen.print(
        table(
            ("rung", "codec", "box", ">average", ">cap", ">crf", "frames", "range"),
            (
                (
                    f"{rung.id}{' *' if rung.default else ''}",
                    rung.codec,
                    f"{rung.width_px}x{rung.height_px}",
                    f"{rung.average_kbps:,}",
                    f"{rung.cap_kbps:,}",
                    f"{rung.crf:g}",
                    rung.frame_rate,
                    rung.range,
                )
                for rung in loaded.video
            ),
        )
    )
    if loaded.audio:
        screen.print(
            table(
                ("rung", "codec", "layout", ">rate", "programmes"),
                (
                    (
                        f"{rung.id}{' *' if rung.default else ''}",
                        rung.codec,
                        rung.layout,
                        rung.bit_rate_kbps,
                        "all" if rung.every_programme or rung.default else "the first",
                    )
                    for rung in loaded.audio
                ),
            )
        )
    screen.print("* players start with this rung")


@command.command(
    "fit",
    epilog=options.examples(
        "headend ladder fit studio film.mov",
        "headend ladder fit studio film.mov --crop auto --audio 1+2:en",
        "headend ladder fit web s3://masters/film.mov --json",
    ),
)
@click.argument("ladder", metavar="NAME|FILE")
@options.master
@options.endpoint
@encode_options.fit
@options.common
def fit_ladder(ladder: str, master: str, endpoint_url: str | None, encode: EncodeSettings, as_json: bool) -> None:
    """Show the renditions that a ladder gives for a master.

    Also shows the decisions behind them.
    """
    loaded, store = loading.load(ladder), StoreSettings(endpoint_url=endpoint_url)
    probe, conformed, fitted = deciding.fit(
        loaded, encode, store, deciding.inspect(master, store, choice=encode.picture)
    )
    fitted = replace(fitted, decisions=(*planning.describe_picture(conformed), *fitted.decisions))
    if as_json:
        print_json({"ladder": loaded.name, "master": documents.as_plain(probe.master), **documents.as_plain(fitted)})
        return
    screen = console()
    screen.print(
        f"{loaded.name} for {probe.master.url}: "
        f"{count_text(len(fitted.video) + len(fitted.audio), 'rendition')}, "
        f"{len(fitted.video)} of picture and {len(fitted.audio)} of sound"
    )
    for decision in fitted.decisions:
        screen.print(f"  {decision}")
    screen.print(planned_table(fitted.video, fitted.audio))
