"""``headend protect``: encrypt a published title without encoding it."""

import click

from headend.app import encrypting
from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.describing import release_plain
from headend.app.cli.encryption_options import protection
from headend.app.cli.parameters import ReleaseId
from headend.app.cli.screen import console, facts, print_json
from headend.app.cli.wording import clock_text, count_text
from headend.core.settings import ProtectionSettings, StoreSettings


@click.command(
    "protect",
    epilog=options.examples(
        "headend keys new film > film.keys",
        "headend protect film --protect cbcs --keys film.keys",
        "headend protect film --protect cbcs,cenc --keys speke+https://keys.example/speke --drm widevine,playready",
        "headend protect film --release 4c1f0d2e9b7a65830c1d --protect cbcs --keys film-2.keys --key-epoch 2",
    ),
)
@options.title_argument
@protection(required=True)
@click.option(
    "--release", type=ReleaseId(), metavar="ID", help="The clear release to encrypt, instead of the current one."
)
@confirmed
@options.existing_store
@options.common
def command(
    title: str,
    protection: ProtectionSettings,
    release: str | None,
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Encrypt a published title without encoding it.

    Reads the tracks of a clear release, encrypts them, and publishes a release of the encrypted tracks. The result is
    the same as that of 'headend submit --protect'. Text and thumbnails stay clear. If the command is interrupted,
    nothing changes for viewers; run it again to finish.

    The clear release and its tracks stay in the store: to remove them, run 'headend delete', then 'headend gc'.
    """
    if not dry_run:
        ask(f"Encrypt {title!r} in {' and '.join(protection.schemes)}, and publish the result?", yes=yes)
    screen = console(stderr=True)

    def describe(progress: encrypting.Progress) -> None:
        screen.print(f"encrypted {progress.done_bytes / 1e9:,.2f} of {progress.total_bytes / 1e9:,.2f} GB")

    result = encrypting.encrypt(store, title, protection, release=release, dry_run=dry_run, on_progress=describe)
    presentation = result.published.presentation
    if as_json:
        print_json(
            {
                **release_plain(presentation, store),
                "is_current": result.published.is_current,
                "dry_run": dry_run,
                "tracks": result.tracks,
                "reused_tracks": result.reused_tracks,
                "written_bytes": result.written_bytes,
                "cpu_s": round(result.cpu_s, 3),
                "wall_s": round(result.wall_s, 3),
            }
        )
    elif dry_run:
        console().print(
            f"{title}: {count_text(result.tracks - result.reused_tracks, 'track')} would be encrypted, "
            f"{result.reused_tracks:,} reused"
        )
    else:
        plain = release_plain(presentation, store)
        console().print(
            facts(
                [
                    ("title", f"{presentation.title}, release {presentation.release}"),
                    ("HLS", plain["hls"]),
                    ("DASH", plain["dash"]),
                    (
                        "made",
                        f"{count_text(result.tracks - result.reused_tracks, 'track')} encrypted, "
                        f"{result.reused_tracks:,} reused; {result.written_bytes:,} bytes written",
                    ),
                    ("took", f"{clock_text(result.wall_s)}, {result.cpu_s:,.1f} CPU seconds"),
                    *(
                        []
                        if result.published.is_current
                        else [("current", f"{result.published.newer}, of a newer request")]
                    ),
                ]
            )
        )
