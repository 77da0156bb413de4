"""``headend edit``: change a published title without encoding it."""

import click

from headend import editing
from headend.cli import options
from headend.cli.confirming import ask, confirmed
from headend.cli.describing import release_plain
from headend.cli.screen import console, print_json
from headend.errors import ConfigError
from headend.settings import StoreSettings, TextChoice


def _labels(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[editing.Label, ...]:
    labels = []
    for value in values:
        track, language, role, name = (*value.split(":", 3), "", "", "")[:4]
        if not track or not (language or role or name):
            raise click.BadParameter(f"{value!r} does not read TRACK:LANG:ROLE:NAME; leave empty what stays as it is.")
        labels.append(editing.Label(track, language or None, role or None, name or None))
    return tuple(labels)


def _names(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(filter(None, value.split(",")))


@click.command(
    "edit",
    epilog=options.examples(
        "headend edit film --add-subtitles film.de.srt:de --add-subtitles film.en.srt:en:sdh",
        "headend edit film --remove vp9-360p-276k --remove vp9-180p-144k",
        "headend edit film --relabel aac-2.0-128k-und:fr:dub:Français",
        "headend edit film --default avc-720p-3000k --default aac-2.0-128k-fr --dry-run",
        "headend edit film --order aac-2.0-128k-fr,aac-2.0-128k-en --yes",
    ),
)
@options.title_argument
@click.option(
    "--add-subtitles",
    "subtitles",
    multiple=True,
    metavar="FILE:LANG[:ROLE[:NAME]]",
    callback=options.texts,
    help="A file of text beside the film. May be given again.",
)
@click.option("--remove", multiple=True, metavar="TRACK", help="Leave a track out. May be given again.")
@click.option(
    "--relabel",
    "labels",
    multiple=True,
    metavar="TRACK:LANG:ROLE:NAME",
    callback=_labels,
    help="What players are told of the track's programme; what is left empty stays. May be given again.",
)
@click.option(
    "--default", "defaults", multiple=True, metavar="TRACK", help="What players start with: a picture, or a sound."
)
@click.option("--order", default="", metavar="TRACK,...", callback=_names, help="These first, in this order.")
@confirmed
@options.existing_store
@options.common
def command(
    title: str,
    subtitles: tuple[TextChoice, ...],
    remove: tuple[str, ...],
    labels: tuple[editing.Label, ...],
    defaults: tuple[str, ...],
    order: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Change a published title without encoding it.

    Makes a new release over the tracks that there are and publishes it. A track is named by its id or by that of its
    rendition; headend show lists them. No segment changes its address, so that all caches keep theirs. The release
    before stays, and headend publish brings it back.
    """
    if inside := [choice.source for choice in subtitles if not choice.is_sidecar]:
        raise ConfigError(f"--add-subtitles takes files; {inside[0]} is a stream of a master: submit the master again")
    wanted = editing.Edit(remove, subtitles, labels, defaults, order)
    if wanted == editing.Edit():
        raise ConfigError("say what to change: see headend edit --help")
    if not dry_run:
        ask(f"Publish {title!r} {editing.tell(wanted)}?", yes=yes)
    placed = editing.edit(store, title, wanted, dry_run=dry_run)
    made = placed.presentation
    if as_json:
        print_json({**release_plain(made, store), "is_current": placed.is_current, "dry_run": dry_run})
    elif dry_run:
        console().print(f"{title}: a release {editing.tell(wanted)} can be made")
    else:
        console().print(f"{title}: release {made.release} is current, {editing.tell(wanted)}")
