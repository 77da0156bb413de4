"""``headend plan``: show what submit would do."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from encoder import cluster as encoder_cluster
from encoder import reencoding, text, tool
from encoder.command import MASTER, PROGRAM, SCRATCH
from encoder.costs import Calibration, measured
from encoder.encoding import fill
from encoder.loudness import default_values
from encoder.planning import Draft
from encoder.scheduling import slot_count
from headend.app import deciding, estimating
from headend.app.cli import encode_options, options, per_title_options, quality_options
from headend.app.cli.encryption_options import protection
from headend.app.cli.progress import following
from headend.app.cli.screen import console, facts, print_json, table
from headend.app.cli.wording import clock_text, count_text, rate_text
from headend.app.estimating import Estimate
from headend.app.quality.checking import expected_cpu_s
from headend.app.request import Request
from headend.core import plan_document
from headend.core.errors import ConfigError, HeadendError
from headend.core.files import write_whole
from headend.core.media import EncodePlan, EncodeTask, Kind
from headend.core.media.quality import Checking
from headend.core.prices import Prices
from headend.core.settings import ClusterSettings, EncodeSettings, ProtectionSettings, StoreSettings, Targets
from headend.core.storage import check_writable, open_store
from ladders import loading
from ladders.per_title import check_renditions


@click.command(
    "plan",
    epilog=options.examples(
        "headend plan film.mov --title film",
        "headend plan film.mov --title film --ladder web --commands > encode.sh",
        "headend plan film.mov --title film --output plan.json",
        "headend plan film.mov --title film --fit per-title",
        "headend plan film.mov --title film --protect cbcs,cenc --keys film.keys",
        "headend plan film.mxf --title film --audio 1+2:en --audio 3+4:fr:dub",
        "headend plan film.mov --title film --subtitles film.de.srt:de --subtitles film.ttml:en:sdh",
    ),
)
@options.master
@options.title
@options.ladder
@per_title_options.fit_per_title
@encode_options.encode
@quality_options.floor
@quality_options.checking
@options.cluster
@options.store
@protection(required=False)
@click.option("--commands", is_flag=True, help="Print the command of every task instead, for pasting into a shell.")
@options.prices
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write plan.json to this file.")
@options.common
def command(
    master: str,
    title: str,
    ladder: str,
    encode: EncodeSettings,
    checking: Checking,
    cluster: ClusterSettings,
    store: StoreSettings,
    targets: Targets | None,
    protection: ProtectionSettings | None,
    commands: bool,
    prices: Prices,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show what submit would do in an empty store, without doing it.

    Shows each decision for this master, the grid of GOPs, segments and chunks, the track of each rendition, the
    tasks, and the predicted time and cost. With --json, prints the plan and the estimate as a document; commands
    that differ in only a few words are written once. The estimate is corrected by the measured costs of earlier
    titles in the store.

    With --protect, reads the keys that submit would need, and shows which renditions each of them encrypts, but
    no secret.

    With --fit per-title, encodes excerpts and stores the results, unless the store already has them.
    """
    chosen = loading.load(ladder)
    if targets is not None:
        check_renditions(chosen, targets)
    request = Request(master, title, chosen, store, cluster, encode, targets=targets, protection=protection)
    draft = _draft(request)
    if protection is not None:
        draft.plan = deciding.with_encryption(draft.plan, protection, None)
    plan = deciding.tasks_for(draft, request, None)
    document = plan_document.as_plain(plan)
    if output is not None:
        _write(output, msgspec.json.encode(document))
    slots = slot_count(encoder_cluster.workers_of(cluster))
    quality_cpu_s = expected_cpu_s(draft.measuring(), plan, checking)
    expected = estimating.estimate(plan, measured(), quality_cpu_s)
    if as_json:
        print_json({**document, "estimate": estimate_plain(expected, prices, slots)})
    elif commands:
        for task in plan.tasks:
            click.echo(f"# {task.id}: {_span(task)}, {_made(task)}")
            if not task.argv:
                click.echo("# no command: headend reads this sidecar itself\n")
                continue
            if task.loudness_target is not None:
                click.echo(
                    "# a worker first measures the loudness and sets the gain; below, the level stays unchanged\n"
                    f"{_pasteable(plan, task.loudness_target.argv, {})}"
                )
            words = default_values(task.loudness_target) if task.loudness_target else _sidecar_words(task)
            if first := reencoding.first_pass(task.argv):
                click.echo(f"# first of two passes\n{_pasteable(plan, first, {})}")
            click.echo(f"{_pasteable(plan, task.argv, words)}\n")
    else:
        _show(plan)
        _show_estimate(expected, prices, slots)


def _draft(request: Request) -> Draft:
    known = Calibration()
    with suppress(HeadendError):  # the calibration is optional
        opened = open_store(replace(request.store, patience_s=0.0))
        known = deciding.calibration(opened, request.cluster, lambda _: None)
    if request.targets is None:
        probe = deciding.inspect(request.master, request.store, choice=request.encode.picture)
        return deciding.draft_for(request, probe, known)
    opened = open_store(request.store)
    check_writable(opened)
    with following(console(stderr=True)) as note:
        probe = deciding.inspect(request.master, request.store, note, request.encode.picture)
        draft, _ = deciding.fitted_draft(request, probe, opened, known, on_event=note)
    return draft


def estimate_plain(expected: Estimate, prices: Prices, slots: int) -> dict[str, object]:
    """Return the estimate of a plan as a JSON document."""
    return {
        "cpu_s": round(expected.cpu_s, 3),
        "quality_cpu_s": round(expected.quality_cpu_s, 3),
        "slots": slots,
        "wall_s": round(expected.wall_s(slots), 3),
        "stored_bytes": expected.stored_bytes,
        "put_requests": expected.put_requests,
        "cost": {
            "compute": round(prices.compute(expected.cpu_s), 4),
            "requests": round(prices.requests(expected.put_requests), 4),
            "storage_month": round(prices.storage(expected.stored_bytes), 4),
            "currency": prices.currency,
            "prices": f"{prices.name}, {prices.as_of}",
        },
        "renditions": [
            {
                "id": estimate.id,
                "codec": estimate.codec,
                "cpu_s": round(estimate.cpu_s, 3),
                "stored_bytes": estimate.stored_bytes,
                "compute": round(prices.compute(estimate.cpu_s), 4),
            }
            for estimate in expected.renditions
        ],
    }


def _show_estimate(expected: Estimate, prices: Prices, slots: int) -> None:
    """Print the estimate of a plan, by codec and rendition."""
    screen = console()
    screen.print()
    screen.print(
        table(
            ("estimate", ">CPU hours", ">GB", f">{prices.currency}", f">{prices.currency}/month stored"),
            [
                (name, f"{cpu_s / 3600:,.3f}", f"{size / 1e9:,.3f}", f"{prices.compute(cpu_s):,.4f}",
                 f"{prices.storage(size):,.4f}")
                for name, cpu_s, size in [
                    *_by_codec(expected),
                    ("quality", expected.quality_cpu_s, 0),
                    ("all", expected.cpu_s, expected.stored_bytes),
                ]
            ],
        )
    )  # fmt: skip
    screen.print(
        f"{clock_text(expected.wall_s(slots))} on {count_text(slots, 'core')}; "
        f"{count_text(expected.put_requests, 'object')} written, {prices.requests(expected.put_requests):,.4f} "
        f"{prices.currency}; prices of {prices.name}, {prices.as_of}"
    )


def _by_codec(expected: Estimate) -> Iterator[tuple[str, float, int]]:
    """Yield name, CPU seconds and bytes of each codec, followed by those of its renditions."""
    for codec, (cpu_s, size) in expected.by_codec().items():
        yield codec, cpu_s, size
        yield from (
            (f"  {rendition.id}", rendition.cpu_s, rendition.stored_bytes)
            for rendition in expected.renditions
            if rendition.codec == codec
        )


def _keys(plan: EncodePlan) -> Iterator[tuple[str, str, int, str, str]]:
    """Yield a table row for each key, with the renditions that it encrypts."""
    for scheme in plan.protection:
        for name in scheme.names:
            mine = (encryption.rendition for encryption in plan.sealings.values() if name.kid in encryption.kids)
            yield scheme.scheme.value, name.key_class.value, name.period, name.uuid, ", ".join(mine)


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise ConfigError(f"--output {path} can't be written: {error.strerror}; choose another file") from error


def _pasteable(plan: EncodePlan, argv: Sequence[str], level: Mapping[str, str]) -> str:
    """Format a command to run here: outputs go to the current folder; a master in S3 keeps its placeholder."""
    words = {PROGRAM: tool.ffmpeg_path()}
    placeholders = {SCRATCH: ".", **level}
    if not plan.master.url.startswith("s3://"):
        words[MASTER] = plan.master.url
    return shlex.join(words[word] if word in words else fill(word, placeholders) for word in argv)


def _sidecar_words(task: EncodeTask) -> dict[str, str]:
    """Return the placeholder of a task's sidecar if it is a local file; a task reads at most one."""
    for track in task.text:
        if track.sidecar and not track.sidecar.url.startswith("s3://"):
            return {text.SIDECAR: track.sidecar.url}
    return {}


def _span(task: EncodeTask) -> str:
    return f"{task.kind} {task.chunk.number}, frames {task.chunk.first_frame:,} to {task.chunk.end_frame - 1:,}"


def _made(task: EncodeTask) -> str:
    sheets = [count_text(len(task.sheets), "sheet") + " of thumbnails"] if task.sheets else []
    stills = [f"{count_text(len(task.posters), 'candidate')} for the poster"] if task.posters else []
    return ", ".join((*task.renditions, *sheets, *stills))


def _show(plan: EncodePlan) -> None:
    grid, screen = plan.grid, console()
    chunks = len({task.chunk for task in plan.tasks if task.kind is Kind.VIDEO})
    screen.print(
        facts(
            [
                ("title", plan.title),
                ("master", f"{plan.master.url}, {plan.master.size_bytes:,} bytes"),
                (
                    "ladder",
                    f"{plan.ladder}: {len(plan.video) + len(plan.audio)} renditions, {len(plan.video)} of picture and "
                    f"{len(plan.audio)} of sound, effort {plan.effort}; {len(plan.text)} of text",
                ),
                ("encoder", plan.tool),
                (
                    "grid",
                    f"{count_text(grid.frame_count, 'frame')} at {rate_text(grid.frame_rate)} frames/s; "
                    f"GOPs of {grid.gop_frames}, segments of {grid.segment_frames}, "
                    f"chunks of {grid.chunk_frames} frames",
                ),
                (
                    "work",
                    f"{count_text(grid.segment_count, 'segment')}, {count_text(chunks, 'chunk')}, "
                    f"{count_text(len(plan.tasks), 'task')}",
                ),
            ]
        )
    )
    screen.print()
    screen.print("Decisions")
    for decision in plan.decisions:
        screen.print(f"  {decision}")
    if plan.protection:
        screen.print()
        screen.print(table(("scheme", "class", ">period", "key id", "encrypts"), _keys(plan)))
    total = sum(task.cost for task in plan.tasks)
    screen.print()
    screen.print(
        table(
            ("task", "frames", ">cost", "renditions"),
            ((task.id, _span(task), f"{task.cost / total:.1%}", _made(task)) for task in plan.tasks),
        )
    )
