"""``python -m benchmarks [NAME] [--out FILE.json]``: run a benchmark, or list them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.table import Table

from benchmarks import machine
from headend.app.cli.screen import console as output
from headend.core.errors import HeadendError

R = TypeVar("R")


class _Benchmarks(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HeadendError as error:
            raise click.ClickException(error.message) from error


def _in_a_folder(_context: click.Context, _option: click.Parameter, out: Path | None) -> Path | None:
    """Check the folder before the benchmark runs, not when the result is written."""
    if out is not None and not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}: create it first")
    return out


@click.group(cls=_Benchmarks, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure headend's cost on this machine. Without a command, list the benchmarks.

    Example: python -m benchmarks packaging --out packaging.json
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


ORIGIN_PARTS = ("segments", "manifests", "titles", "cold", "workers", "stalled", "start")
SIMULATION_PARTS = ("kernels", "players", "engine", "workers", "fill")
"""Repeated here, so that --help imports no benchmark."""

_codecs = click.option(
    "--codec",
    "codecs",
    type=click.Choice(["avc", "hevc", "av1", "vp9"]),
    multiple=True,
    help="Use this codec; repeatable.",
)
_out = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_in_a_folder,
    help="Also write the result as JSON, with a description of the machine.",
)


@main.command()
@_out
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=24),
    default=2.0,
    show_default=True,
    help="Length of the film.",
)
def packaging(out: Path | None, hours: float) -> None:
    """Publish a synthetic film with 57 renditions, from receipts to manifests."""
    from benchmarks.packaging import measure

    report = measure(hours)
    table = Table("step", "wall s", "CPU s", title=f"{report.renditions} renditions, {report.segments} segments")
    for step in report.steps:
        table.add_row(step.name, f"{step.wall_s:.2f}", f"{step.cpu_s:.2f}")
    console = output()
    console.print(table)
    megabytes = report.manifest_bytes / 1e6
    console.print(
        f"{report.objects} objects, {megabytes:.1f} MB of manifests, peak {report.peak_memory_bytes / 1e6:.0f} MB"
    )
    _write(out, "packaging", report)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="Few titles and short films: a functional check, not a measurement.")
def store(out: Path | None, quick: bool) -> None:
    """List, publish and collect garbage in a store of 10,000 titles; segment long text and sound; plan a long film."""
    from benchmarks.store import measure, rows

    report = measure(quick=quick, on_step=output(stderr=True).print)
    table = Table("what", "measured", "at most", "", title=f"{report.renditions} renditions of {report.hours:g} h")
    for row in rows(report):
        table.add_row(row.what, row.measured, row.limit, "reached" if row.met else "missed")
    output().print(table)
    _write(out, "store", report)


@main.command()
@_out
@click.option(
    "--case", "names", type=click.Choice(["prores", "h264", "codecs"]), multiple=True, help="Run this case; repeatable."
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of all methods.  [default: 3 for prores, else 2]")
@click.option("--quick", is_flag=True, help="Half the frames: a functional check, not a measurement.")
def encoding(out: Path | None, names: tuple[str, ...], rounds: int | None, quick: bool) -> None:
    """Encode a ladder with headend and other methods, and compare their CPU time with the minimum possible."""
    from benchmarks.encoding import CASES, Report, draw, measure

    console = output()
    on_step = output(stderr=True).print
    chosen = [name for name in CASES if not names or name in names]
    reports = measure(chosen, rounds=rounds, quick=quick, earlier=_earlier(out, Report), on_step=on_step)
    for name, report in zip(chosen, reports, strict=True):
        case = next(case for case in report.cases if case.name == CASES[name].name)
        table = Table("method", "CPU s", "wall s", "MB", title=f"{case.name}, {case.frames} frames")
        for row in case.rows:
            size = f"{row.bytes / 1e6:.2f}" if row.bytes else "-"
            table.add_row(row.way, f"{row.cpu_s:.2f}", f"{row.wall_s:.2f}", size)
        console.print(table)
        for ratio in case.ratios:
            verdict = "reached" if ratio.met else "missed"
            console.print(f"  {ratio.measure} {ratio.ratio:.2f} × {ratio.peer}: target {ratio.target:.2f} {verdict}")
        for way, why in case.left_out.items():
            console.print(f"  {way} skipped: {why}", markup=False)
        _write(out, "encoding", report, draw)


@main.command()
@_out
@click.option(
    "--part",
    "parts",
    type=click.Choice(["ladder", "cascade", "joins", "measuring"]),
    multiple=True,
    help="Run this part; repeatable.",
)
@click.option("--quick", is_flag=True, help="Shorter films: a functional check, not a measurement.")
def quality(out: Path | None, quick: bool, parts: tuple[str, ...]) -> None:
    """Compare VMAF: headend's ladders with others, scaling in steps, films in chunks; and the cost of measuring."""
    from benchmarks.quality import PARTS, Report, draw, measure

    report = measure(parts or PARTS, quick=quick, earlier=_earlier(out, Report), on_step=output(stderr=True).print)
    console = output()
    for ladder in report.ladders:
        names = list(ladder.rungs[0].results)
        table = Table("rendition", *(f"{way}: kB, VMAF" for way in names), title=ladder.name)
        for rung in ladder.rungs:
            cells = (f"{each.bytes / 1000:.0f}, {each.vmaf:.2f}" for each in rung.results.values())
            table.add_row(rung.rendition, *cells)
        table.add_row("headend compared with this method", "", *(_gain(ladder.gain(way)) for way in names[1:]))
        console.print(table)
    table = Table("film", "size", "directly", "step by step", "difference", "")
    for scaled in report.cascade:
        values = (f"{scaled.direct_vmaf:.2f}", f"{scaled.cascade_vmaf:.2f}", f"{-scaled.loss:+.2f}")
        size = f"{scaled.width_px}x{scaled.height_px}"
        table.add_row(scaled.film, size, *values, "reached" if scaled.met else "missed")
    console.print(table)
    table = Table("rendition", "chunk s", "whole kB", "VMAF", "chunked: mean", "at joins", "size", "")
    for row in report.joins:
        whole = (f"{row.whole.bytes / 1000:.0f}", f"{row.whole.vmaf:.2f}")
        differences = (f"{-row.loss:+.2f}", f"{-row.join_loss:+.2f}", f"{row.growth:+.1%}")
        table.add_row(row.rendition, str(row.chunk_s), *whole, *differences, "reached" if row.met else "missed")
    console.print(table)
    table = Table("renditions", "encoding, CPU s", "measuring, CPU s", "share", "share for 10 %", "8 per process", "")
    for cost in report.measuring:
        values = (f"{cost.full:.0%}", f"{cost.sampled:.1%}", f"{cost.share_of_apart:.2f} × one each")
        what = f"{cost.renditions} renditions of {cost.frames} frames, {cost.effort}"
        costs = (f"{cost.encoded_s:,.0f}", f"{cost.together_s:,.0f}")
        table.add_row(what, *costs, *values, "reached" if cost.met else "missed")
    console.print(table)
    _write(out, "quality", report, draw, parts=parts or PARTS)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="Clips of one second: a functional check, not a measurement.")
@_codecs
@click.option(
    "--clip", "only", multiple=True, help="Run this clip; repeatable. Results of other clips are kept from --out."
)
def titles(out: Path | None, quick: bool, codecs: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Compare per-title ladders with the preset at equal VMAF."""
    from benchmarks.titles import CLIPS, DEFAULT_CODECS, Report, draw, findings, measure
    from headend.core.media import Codec

    chosen = [Codec(codec) for codec in codecs] or DEFAULT_CODECS
    screen = output(stderr=True)
    report = measure(chosen, quick=quick, only=only, earlier=_earlier(out, Report), on_step=screen.print)
    table = Table(
        "clip", "codec", "bits", "against before", "preset against before", "top kb/s", "VMAF", "inverted", "rate off",
        "VMAF off",
    )  # fmt: skip
    for row in report.rows:
        before = [f"{value:+.1%}" if value is not None else "" for value in (row.saving_before, row.fixed_saving)]
        was, top = row.fixed[-1], row.titled[-1]
        table.add_row(
            row.clip, row.codec, f"{row.saving:+.1%}", *before, f"{was.kbps:.0f} → {top.kbps:.0f}",
            f"{was.vmaf:.1f} → {top.vmaf:.1f}", "{} → {}".format(*row.inversions), f"{row.rate_error:.1%}",
            f"{row.vmaf_error:.2f}",
        )  # fmt: skip
    output().print(table)
    table = Table("target", "measured", "required", "")
    for finding in findings(report):
        table.add_row(finding.what, finding.found, finding.wanted, "reached" if finding.met else "missed")
    output().print(table)
    _write(
        out,
        "titles",
        report,
        draw,
        parts=list(dict.fromkeys(f"{name}, {codec}" for codec in chosen for name in only or CLIPS)),
    )


@main.command()
@_out
@click.option("--quick", is_flag=True, help="A third of a second per clip: a functional check, not a measurement.")
@_codecs
def presets(out: Path | None, quick: bool, codecs: tuple[str, ...]) -> None:
    """Compare the presets of each video encoder: CPU per frame and size at equal VMAF."""
    from benchmarks.presets import PRESETS, Report, draw, measure

    chosen = [codec for codec in PRESETS if not codecs or codec in codecs]
    report = measure(chosen, quick=quick, earlier=_earlier(out, Report), on_step=output(stderr=True).print)
    table = Table("codec", "preset", "effort", "CPU ms/Mpx", "size", "size, H.264 medium = 1", "frontier")
    for row in report.rows:
        sizes = (f"{row.size:.3f}", f"{row.against_avc:.3f}")
        table.add_row(
            row.codec, row.preset, ", ".join(row.efforts), f"{row.cpu_ms:.1f}", *sizes, "yes" if row.best else ""
        )
    output().print(table)
    _write(out, "presets", report, draw, parts=chosen)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="A short film, few tasks: a functional check, not a measurement.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(["simulated", "dask", "local"]),
    multiple=True,
    help="Run this part; repeatable.",
)
def scaling(out: Path | None, quick: bool, parts: tuple[str, ...]) -> None:
    """Encode a film on two real workers and on a thousand simulated ones, and measure Dask's overhead."""
    from benchmarks.scaling import PARTS, Report, draw, findings, measure

    report = measure(parts or PARTS, quick=quick, earlier=_earlier(out, Report), on_step=output(stderr=True).print)
    table = Table("workers", "case", "chunk s", "tasks", "hours", "over bound", "extra work", "lost CPU h")
    for row in report.simulated:
        hours = (f"{row.makespan_s / 3600:.2f}", f"{row.ratio:.3f}")
        counts = (f"{row.workers:,}", row.case, f"{row.chunk_s:.0f}", f"{row.tasks:,}")
        table.add_row(*counts, *hours, f"{row.extra:.1%}", f"{row.lost_s / 3600:.1f}")
    console = output()
    console.print(table)
    for line in findings(report):
        console.print(f"  {line}")
    _write(out, "scaling", report, draw, parts=parts or PARTS)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="A few frames: a functional check, not a measurement.")
@click.option(
    "--part", "parts", type=click.Choice(["coefficients", "jobs"]), multiple=True, help="Run this part; repeatable."
)
@click.option("--keep", is_flag=True, help="Use these coefficients for planning: write them to encoder/costs.json.")
def costs(out: Path | None, quick: bool, parts: tuple[str, ...], keep: bool) -> None:
    """Measure the cost model's coefficients, and compare its predictions with whole jobs."""
    from benchmarks.costs import JOB_TARGET, PARTS, Report, keep_as_installed, measure

    if keep and "coefficients" not in (parts or PARTS):
        raise click.BadParameter("--part jobs measures no coefficients: leave it out", param_hint="--keep")
    report = measure(parts or PARTS, quick=quick, earlier=_earlier(out, Report), on_step=output(stderr=True).print)
    console = output()
    if report.runs:
        table = Table("run", "CPU s", "MB", title=f"{report.frames} frames")
        for run in report.runs:
            table.add_row(run.what, f"{run.cpu_s:.2f}", f"{run.memory_mb:.0f}")
        console.print(table)
    for check in report.checks:
        console.print(
            f"  a 2160p task, {check.codec}: {check.measured_mb:.0f} MB of {check.reserved_mb:.0f} MB reserved"
        )
    if report.jobs:
        table = Table(
            "job", "renditions", "CPU s", "predicted in a new store", "after one job", f"target: ±{JOB_TARGET:.0%}"
        )
        for job in report.jobs:
            predictions = (f"{job.predicted_s:,.1f} ({job.first_off:+.0%})", f"{job.learned_s:,.1f} ({job.off:+.0%})")
            outcome = "reached" if job.met else "missed"
            table.add_row(job.name, str(job.renditions), f"{job.took_s:,.1f}", *predictions, outcome)
        console.print(table)
    _write(out, "costs", report, parts=parts or PARTS)
    if keep:
        keep_as_installed(report.costs)


@main.command()
@_out
@click.option("--part", "parts", type=click.Choice(ORIGIN_PARTS), multiple=True, help="Run this part; repeatable.")
@click.option("--quick", is_flag=True, help="One short round: a functional check, not a measurement.")
def origin(out: Path | None, quick: bool, parts: tuple[str, ...]) -> None:
    """Compare the origin with nginx: segments, manifests, S3, stalled clients, two workers, startup."""
    from benchmarks.origin import Report, draw, measure

    earlier = _earlier(out, Report)
    report = measure(parts or ORIGIN_PARTS, quick=quick, earlier=earlier, on_step=output(stderr=True).print)
    table = Table("case", "server", "CPU µs", "requests/s", "MB/s", "p50 ms", "p99 ms", title=report.nginx)
    for row in report.rows:
        rates = (f"{row.requests_per_s:,.0f}", f"{row.requests_per_s * row.mean_bytes / 1e6:,.0f}")
        table.add_row(row.case, row.server, f"{row.cpu_us:,.0f}", *rates, f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}")
    console = output()
    if report.rows:
        console.print(table)
    for target in report.targets:
        verdict = "reached" if target.met else "missed"
        console.print(f"  {target.name}: {target.value:.2f}, target {target.target:g} {verdict}")
    _write(out, "origin", report, draw, parts=parts or ORIGIN_PARTS)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="Short films, one round: a functional check, not a measurement.")
def overheads(out: Path | None, quick: bool) -> None:
    """Run whole jobs, and measure everything but encoding: uploads, task starts, scratch files, Dask."""
    from benchmarks.overheads import draw, findings, measure, parts

    report = measure(quick=quick, on_step=output(stderr=True).print)
    table = Table("part", "CPU s", "share", title=f"a job of {report.job.tasks} tasks")
    for part, cpu_s in parts(report.job).items():
        table.add_row(part, f"{cpu_s:.2f}", f"{cpu_s / report.job.cpu_s:.2%}")
    console = output()
    console.print(table)
    for line in findings(report):
        console.print(f"  {line}")
    _write(out, "overheads", report, draw)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="A short film, one round: a functional check, not a measurement.")
def protection(out: Path | None, quick: bool) -> None:
    """Measure encryption in cbcs and cenc: workers, samples of each codec, headend protect, licences, serving."""
    from benchmarks.protection import findings, measure

    report = measure(quick=quick, on_step=output(stderr=True).print)
    table = Table(
        "rendition", "scheme", "samples", "bytes each", "µs each", "grows by", title=f"{report.frames} frames"
    )
    for row in report.samples:
        cells = (f"{row.samples:,}", f"{row.bytes_per_sample:,.0f}", f"{row.sample_us:.1f}", f"{row.growth_bytes:.1f}")
        table.add_row(row.rendition, row.scheme, *cells)
    console = output()
    console.print(table)
    for line in findings(report):
        console.print(f"  {line}")
    _write(out, "protection", report)


@main.command()
@_out
@click.option("--titles", type=click.IntRange(min=5), default=20, show_default=True, help="Titles in the queue.")
def jobs(out: Path | None, titles: int) -> None:
    """Run a small job queue: makespan, an urgent title, takeover, and the dispatcher's own CPU."""
    from benchmarks.queueing import findings, measure

    report = measure(output(stderr=True).print, titles)
    console = output()
    for line in findings(report):
        console.print(line)
    _write(out, "jobs", report)


@main.command()
@_out
@click.option("--quick", is_flag=True, help="One short round: a functional check, not a measurement.")
def edges(out: Path | None, quick: bool) -> None:
    """Compare an edge with nginx's proxy_cache: hits, misses, many clients on a cold segment; replay the log."""
    from benchmarks.edges import draw, findings, measure

    report = measure(quick=quick, on_step=output(stderr=True).print)
    table = Table("case", "server", "CPU µs")
    for row in report.rows:
        table.add_row(row.case, row.server, f"{row.cpu_us:,.0f}")
    console = output()
    console.print(table)
    for line in findings(report):
        console.print(f"  {line}")
    _write(out, "edges", report, draw)


PIECES = (
    *("packaging", "store"),
    *("encoding --case prores", "encoding --case h264", "encoding --case codecs"),
    *("quality --part ladder", "quality --part cascade", "quality --part joins", "quality --part measuring"),
    *("presets --codec avc", "presets --codec hevc", "presets --codec av1", "presets --codec vp9"),
    *("scaling --part simulated", "scaling --part dask", "scaling --part local"),
    *("titles", "overheads", "costs", "jobs", "edges", "protection"),
    *(f"origin --part {part}" for part in ORIGIN_PARTS),
    *(f"simulation --part {part}" for part in SIMULATION_PARTS),
)
"""All benchmarks, in pieces of at most about six minutes on two idle cores."""


@main.command()
@_out
@click.option("--quick", is_flag=True, help="Small cases: a functional check, not a measurement.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(SIMULATION_PARTS),
    multiple=True,
    help="Run this part; repeatable.",
)
def simulation(out: Path | None, quick: bool, parts: tuple[str, ...]) -> None:
    """Measure the CDN simulation: kernels compared with libcachesim, players, one day, two workers, planned fill."""
    from benchmarks.simulation import Report, draw, findings, measure

    earlier = _earlier(out, Report)
    report = measure(parts or SIMULATION_PARTS, quick=quick, earlier=earlier, on_step=output(stderr=True).print)
    console = output()
    if report.kernels:
        table = Table("policy", "M requests/s", "× libcachesim", "misses", "misses of libcachesim", "target", "")
        for row in report.kernels:
            speed, misses = f"{row.requests / row.cpu_s / 1e6:.1f}", (f"{row.misses:,}", f"{row.peer_misses:,}")
            verdict = "reached" if row.met else "missed"
            table.add_row(row.policy, speed, f"{row.ratio:.1f}", *misses, f"{row.target:g} ×", verdict)
        console.print(table)
    if report.speeds:
        table = Table("what", "count", "CPU s", "wall s", "peak MB", "target", "")
        for each in report.speeds.values():
            numbers = (f"{each.count:,}", f"{each.cpu_s:.1f}", f"{each.wall_s:.1f}", f"{each.peak_bytes / 1e6:.0f}")
            table.add_row(each.what, *numbers, each.target, "reached" if each.met else "missed")
        console.print(table)
    for churn in report.fill:
        table = Table("method", "byte hits", "p95 of transit", "fill of misses", title=f"{churn.name} churn")
        for way in churn.ways:
            hit = f"{way.byte_hit:.2%} ± {way.byte_hit_interval * 100:.2f}"
            table.add_row(way.way, hit, f"{way.p95:.3f} ± {way.p95_interval:.3f}", f"{way.fill_of_misses:.1%}")
        console.print(table)
    for line in findings(report):
        console.print(f"  {line}")
    _write(out, "simulation", report, draw, parts=parts or SIMULATION_PARTS)


@main.command("all")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def everything(folder: Path) -> None:
    """Run all benchmarks one after another, and write their results and charts to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for piece in PIECES:
        click.echo(piece, err=True)
        words = piece.split()
        main.main([*words, "--out", str(folder / f"{words[0]}.json")], standalone_mode=False)


def _gain(gain: tuple[float, float] | None) -> str:
    return "" if gain is None else f"{gain[1]:+.1%}, {gain[0]:+.2f}"


def _earlier(out: Path | None, kind: type[R]) -> R | None:
    """Return the result of an earlier run in the same file, which a run of some parts completes."""
    if out is None or not out.exists():
        return None
    try:
        return msgspec.convert(msgspec.json.decode(out.read_bytes(), type=dict[str, Any]).get("result"), kind)
    except msgspec.DecodeError:
        raise click.BadParameter(
            f"{out} is not a result of this version of the benchmark: choose another file", param_hint="--out"
        ) from None


def _write(
    out: Path | None,
    name: str,
    result: R,
    draw: Callable[[R, Path], None] | None = None,
    *,
    parts: Sequence[str] = (),
) -> None:
    """Write a result, and its chart next to it.

    Args:
        out: File; None writes nothing.
        name: Name of the benchmark.
        result: The result.
        draw: Draws the chart; None for no chart.
        parts: Parts measured in this run; the file records the machine and the time of each part.
    """
    if out is None:
        return
    this_machine = machine.describe()
    known = json.loads(out.read_bytes()).get("parts", {}) if parts and out.exists() else {}
    machines = {"parts": {**known, **dict.fromkeys(parts, this_machine)}} if parts else {}
    document = {"benchmark": name, "machine": this_machine, **machines, "result": result}
    out.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    if draw is not None:
        draw(result, out.with_suffix(".png"))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
