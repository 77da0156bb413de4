"""``headend edit``: change a published title without encoding it again."""

from contextlib import nullcontext

import click

from headend.app import editing
from headend.app.cli import encryption_options, option_values, options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.describing import release_plain
from headend.app.cli.progress import following
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import count_text
from headend.core.errors import ConfigError
from headend.core.media import AudioRole
from headend.core.settings import AudioFileChoice, ClusterSettings, KeySettings, StoreSettings, TextChoice


def _labels(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[editing.Label, ...]:
    labels = []
    for value in values:
        track, language, role, name = (*value.split(":", 3), "", "", "")[:4]
        if not track or not (language or role or name):
            raise click.BadParameter(f"{value!r} is not TRACK:LANG:ROLE:NAME; leave a field empty to keep it.")
        labels.append(editing.Label(track, language or None, role or None, name or None))
    return tuple(labels)


def _names(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(filter(None, value.split(",")))


@click.command(
    "edit",
    epilog=options.examples(
        "headend edit film --add-subtitles film.de.srt:de --add-subtitles film.en.srt:en:sdh",
        "headend edit film --add-audio film.fr.wav:fr:dub:Français",
        "headend edit film --add-audio film.fr.wav:fr:dub --keys film.keys",
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
    callback=option_values.texts,
    help="Add a subtitle file. Repeatable.",
)
@click.option(
    "--add-audio",
    "audio",
    multiple=True,
    metavar="FILE:LANG[:ROLE[:NAME]]",
    callback=option_values.audio_files,
    help="Encode and add the sound of another file, which must be as long as the film. Repeatable. ROLE is "
    f"{', '.join(AudioRole)}.",
)
@click.option("--remove", multiple=True, metavar="TRACK", help="Remove a track. Repeatable.")
@click.option(
    "--relabel",
    "labels",
    multiple=True,
    metavar="TRACK:LANG:ROLE:NAME",
    callback=_labels,
    help="Change the labels of the track's programme; empty fields keep the current label. Repeatable.",
)
@click.option(
    "--default", "defaults", multiple=True, metavar="TRACK", help="Video or audio track that players start with."
)
@click.option("--order", default="", metavar="TRACK,...", callback=_names, help="Tracks to list first, in this order.")
@encryption_options.key_settings_options(required=False)
@confirmed
@options.existing_store
@options.cluster
@options.running
@options.common
def command(
    title: str,
    subtitles: tuple[TextChoice, ...],
    audio: tuple[AudioFileChoice, ...],
    remove: tuple[str, ...],
    labels: tuple[editing.Label, ...],
    defaults: tuple[str, ...],
    order: tuple[str, ...],
    keys: KeySettings | None,
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    cluster: ClusterSettings,
    as_json: bool,
) -> None:
    """Change a published title without encoding it again.

    Makes a new release of the existing tracks and publishes it. Name a track by its id or by its rendition's
    id; 'headend show' lists both. No segment changes its URL, so caches stay valid. The previous release stays in
    the store, and 'headend publish' restores it.

    Only added sound is encoded, on this machine or on the cluster given by --scheduler. It gets the renditions that
    the ladder of the release has for a further programme, and the same loudness as the others. Sound added to an
    encrypted title is encrypted with the title's keys, given by --keys.
    """
    if inside := [choice.source for choice in subtitles if not choice.is_sidecar]:
        raise ConfigError(f"--add-subtitles takes files; {inside[0]} is a stream of a master: submit the master again")
    wanted = editing.Edit(remove, subtitles, audio, labels, defaults, order)
    if wanted == editing.Edit():
        raise ConfigError("no change is given: see 'headend edit --help'")
    if keys is not None and not audio:
        raise ConfigError("--keys is for adding sound to an encrypted title: add --add-audio, or remove --keys")
    if not dry_run:
        ask(f"Publish {title!r} {editing.describe(wanted)}?", yes=yes)
    with following(console(stderr=True)) if audio else nullcontext(lambda _: None) as note:
        edited = editing.edit(store, title, wanted, workers=cluster, keys=keys, dry_run=dry_run, on_event=note)
    published = edited.published
    presentation = published.presentation
    if as_json:
        facts = {"is_current": published.is_current, "added": edited.added, "encoded_tracks": edited.encoded}
        print_json({**release_plain(presentation, store), **facts, "dry_run": dry_run})
        return
    summary = editing.describe(wanted)
    if dry_run:
        tracks = f"; {count_text(edited.encoded, 'track')} would be added" if edited.added else ""
        console().print(f"{title}: a release {summary} would be published{tracks}")
    elif published.is_current:
        console().print(f"{title}: release {presentation.release} is current, {summary}")
    else:
        console().print(
            f"{title}: release {presentation.release} is complete, {summary}; "
            f"{published.newer}, of a newer request, stays current"
        )
