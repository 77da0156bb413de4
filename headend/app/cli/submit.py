"""``headend submit``: encode a master and publish it as a title."""

import click

from headend.app import pipeline
from headend.app.cli import Invocation, encode_options, options, per_title_options, quality_options, queueing
from headend.app.cli.describing import concealed_facts, protection_facts, release_plain
from headend.app.cli.encryption_options import protection
from headend.app.cli.event_lines import Lines
from headend.app.cli.progress import following
from headend.app.cli.reporting import quality_plain
from headend.app.cli.screen import console, facts, print_json
from headend.app.cli.wording import clock_text, count_text
from headend.app.quality.report import sentence
from headend.app.request import Outcome, Request
from headend.core.errors import ConfigError, HeadendError
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import DEFAULT_THRESHOLDS, Thresholds
from headend.core.settings import ClusterSettings, EncodeSettings, ProtectionSettings, StoreSettings, Targets
from headend.core.storage.masters import redact
from ladders import choosing, loading
from ladders.per_title import check_renditions


@click.command(
    "submit",
    epilog=options.examples(
        "headend submit film.mov --title film",
        "headend submit film.mov --title film --ladder web --effort high",
        "headend submit s3://masters/film.mov --title film --store s3://films/vod",
        "headend submit film.mov --title film --scheduler tcp://10.0.0.5:8786",
        "headend submit film.mov --title film --audio 1:en:main:English --audio 2:fr:dub --audio 3:en:commentary",
        "headend submit film.mxf --title film --audio 1+2+3+4+5+6:en --loudness -27",
        "headend submit film.mov --title film --publish-early",
        "headend submit film.mov --title film --queue --priority 80 --label season=2",
        "headend submit --from titles.csv --ladder web",
        "headend submit film.mov --title film --only-codecs avc,aac",
        "headend submit film.mov --title film --hold",
        "headend submit film.mov --title film --fit per-title",
        "headend submit film.mov --title film --floor 70",
        "headend submit film.mov --title film --protect cbcs --keys film.keys",
        "headend submit film.mov --title film --protect cbcs,cenc --keys speke+https://keys.example/speke "
        "--drm widevine,playready,fairplay",
    ),
)
@options.master
@options.title
@options.ladder
@per_title_options.fit_per_title
@options.store
@options.cluster
@options.running
@encode_options.encode
@quality_options.floor
@quality_options.quality
@click.option(
    "--publish-early",
    is_flag=True,
    help="Encode and publish H.264 and AAC first, before the rest is encoded and before quality is measured.",
)
@click.option(
    "--only-codecs",
    metavar="CODEC,...",
    default="",
    help="Use only these codecs of the ladder, such as avc,hevc,aac.",
)
@click.option(
    "--only-rungs",
    metavar="GLOB,...",
    default="",
    help="Use only these rungs of the ladder, such as 'avc-*,aac-2.0-*'; headend ladder show lists them.",
)
@click.option(
    "--hold",
    is_flag=True,
    help="Make the release, but leave publishing it to 'headend publish'.",
)
@protection(required=False)
@click.option("--force", is_flag=True, help="Encode everything again, even if the store has it.")
@queueing.options
@click.option("--json-lines", is_flag=True, help="Print one JSON object per event while the job runs, the result last.")
@options.common
@click.pass_obj
def command(
    invocation: Invocation | None,
    master: str,
    title: str,
    ladder: str,
    store: StoreSettings,
    cluster: ClusterSettings,
    encode: EncodeSettings,
    checking: Checking,
    thresholds: Thresholds | None,
    publish_early: bool,
    only_codecs: str,
    only_rungs: str,
    targets: Targets | None,
    protection: ProtectionSettings | None,
    force: bool,
    hold: bool,
    queue: bool,
    priority: int,
    labels: tuple[tuple[str, str], ...],
    notify: tuple[str, ...],
    json_lines: bool,
    as_json: bool,
) -> None:
    """Encode a master and publish it as a title.

    The master is a file or an object in S3; each task reads only the part that it needs. A release becomes
    visible when it is complete. Only tracks that the store does not have are encoded: repeat an interrupted
    command to continue it; with other codecs, languages or another ladder, only the new tracks are encoded.

    With --fit per-title, excerpts of the master are first encoded in several sizes, and the rungs are placed by
    the results. The results stay in the store for other jobs of the same master; 'headend analyse' shows them.

    With --protect, workers encrypt segments before they store them. Each worker reads the keys itself, so --keys
    must name a source that all of them can read. 'headend keys new' makes keys.

    Before a release is published, its quality is measured and checked against rules; 'headend quality' shows
    the report.

    With --queue, the job is only queued, and the command returns at once; 'headend dispatch' runs it.
    """
    if hold and publish_early:
        raise ConfigError("--hold delays publishing, and --publish-early publishes early: give one of them")
    chosen = choosing.select(loading.load(ladder), codecs=_listed(only_codecs), rungs=_listed(only_rungs))
    if targets is not None:
        check_renditions(chosen, targets)
    request = Request(
        master,
        title,
        chosen,
        store,
        cluster,
        encode,
        publish_early,
        force,
        hold,
        checking,
        thresholds or DEFAULT_THRESHOLDS,
        targets=targets,
        protection=protection,
    )
    submission = queueing.Submission(request, queueing.Queueing(queue, priority, labels, notify))
    if invocation is not None and invocation.collected is not None:
        invocation.collected.append(submission)
        return
    if queue:
        queueing.show(queueing.enqueue([submission], store), store, as_json=as_json)
        return
    if labels or notify:
        raise ConfigError("--label and --notify are for jobs in the queue: add --queue")
    if json_lines:
        lines = Lines()
        try:
            outcome = pipeline.submit(request, lines.note)
        except HeadendError as error:
            lines.write("failed", error=type(error).__name__, message=redact(error.message))
            raise
        lines.write("done", **outcome_plain(outcome, store))
        return
    with following(console(stderr=True)) as note:
        outcome = pipeline.submit(request, note)
    if as_json:
        print_json(outcome_plain(outcome, store))
    else:
        show_outcome(outcome, store)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(filter(None, value.split(",")))


def outcome_plain(outcome: Outcome, store: StoreSettings) -> dict[str, object]:
    """Return the result of a job as a JSON document."""
    return {
        **release_plain(outcome.presentation, store),
        "is_current": outcome.is_current,
        "held": outcome.held,
        "tracks": outcome.tracks,
        "reused_tracks": outcome.reused_tracks,
        "parts": outcome.parts,
        "reused_parts": outcome.reused_parts,
        "encoded_tasks": outcome.encoded_tasks,
        "cpu_s": round(outcome.cpu_s, 3),
        "predicted_cpu_s": round(outcome.predicted_cpu_s, 3),
        "wall_s": round(outcome.wall_s, 3),
        "quality": quality_plain(outcome.quality) if outcome.quality else None,
    }


def show_outcome(outcome: Outcome, store: StoreSettings) -> None:
    """Print the result of a job."""
    plain, presentation = release_plain(outcome.presentation, store), outcome.presentation
    console().print(
        facts(
            [
                ("title", f"{presentation.title}, release {presentation.release}"),
                ("store", store.url),
                ("HLS", plain["hls"]),
                ("DASH", plain["dash"]),
                (
                    "made",
                    f"{count_text(len(presentation.video) + len(presentation.audio), 'rendition')} of "
                    f"{count_text(presentation.grid.frame_count, 'frame')}: "
                    f"{count_text(outcome.encoded_tasks, 'task')} encoded, "
                    f"{outcome.reused_tracks:,} of {count_text(outcome.tracks, 'track')} reused",
                ),
                (
                    "took",
                    f"{clock_text(outcome.wall_s)}, {outcome.cpu_s:,.0f} CPU seconds of encoding, "
                    f"{outcome.predicted_cpu_s:,.0f} predicted",
                ),
                *([("quality", sentence(outcome.quality))] if outcome.quality else []),
                *([("current", f"{outcome.newer}, of a newer request")] if outcome.newer else []),
                *(
                    [("held", f"'headend publish {presentation.title} --release {presentation.release}' publishes it")]
                    if outcome.held
                    else []
                ),
                *protection_facts(presentation),
                *concealed_facts(presentation),
            ]
        )
    )
