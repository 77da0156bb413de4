"""The report's charts, as SVG text. Needs matplotlib, from the extra ``sim``."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from cdn_sim.accounting import BINS_PER_DAY, DAY_HOURS, p95_mbps
from cdn_sim.compiling import Array
from cdn_sim.filling import window_bytes
from cdn_sim.outcomes import (
    CONTENT_MISS,
    DELAYED,
    FAILED,
    HEALTH_MISS,
    HIT,
    KBPS,
    LATE_FILL,
    PASSED,
    SEGMENTS,
    STALL_MS,
)
from cdn_sim.results import MISSES, Results, Run, bills_of, transit_bins
from cdn_sim.scenario import time_ms
from headend.core.errors import ConfigError

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
EDGE, SHIELD, ORIGIN = "#0b7285", "#e8890c", "#c2255c"
SERIES = ("#0b7285", "#e8890c", "#5f3dc4", "#2b8a3e", "#c2255c", "#495057", "#1971c2", "#a61e4d")
DECISION_COLOURS = {
    HIT: "#0b7285",
    DELAYED: "#66b2c0",
    CONTENT_MISS: "#e8890c",
    LATE_FILL: "#f2c56b",
    HEALTH_MISS: "#c2255c",
    PASSED: "#adb5bd",
    FAILED: "#212529",
}
DECISION_NAMES = {
    HIT: "hit",
    DELAYED: "delayed hit",
    CONTENT_MISS: "content miss",
    LATE_FILL: "late fill",
    HEALTH_MISS: "health miss",
    PASSED: "not stored",
    FAILED: "failed",
}
WIDE, HALF = (10.6, 3.3), (5.2, 3.3)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headend",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
}


def ready() -> None:
    """Check that charts can be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    _library()


def _library() -> Any:
    try:
        return import_module("matplotlib")
    except ImportError:
        raise ConfigError("the report's charts need matplotlib: pip install 'headend[sim]', or use --json") from None


@contextmanager
def _drawing(size: tuple[float, float], into: list[str]) -> Iterator[Any]:
    """Yield axes, then append the SVG to a list."""
    matplotlib = _library()
    with matplotlib.rc_context(_STYLE):
        figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        svg = stream.getvalue()
        head, _, rest = svg[svg.index("<svg") :].partition("<metadata>")
        into.append(head + rest.partition("</metadata>")[2] if rest else head)


def _hours(results: Results) -> Array:
    """The hours after the warm-up, in days from the start of the run."""
    days = results.scenario.days
    return np.asarray(np.arange(days.warm_up * DAY_HOURS, days.all * DAY_HOURS) / DAY_HOURS + 1)


def _day_axis(axes: Any, results: Results) -> None:
    days = results.scenario.days
    axes.set_xlim(days.warm_up + 1, days.all + 1)
    step = max(1, days.counted // 12)
    if days.counted <= 2:
        ticks = np.arange(days.warm_up, days.all + 0.01, 0.25) + 1
        axes.set_xticks(ticks, [f"{round((tick % 1) * 24):02}:00" for tick in ticks])
    else:
        ticks = np.arange(days.warm_up, days.all + 1, step) + 1
        axes.set_xticks(ticks, [f"day {int(tick)}" for tick in ticks])
    first = days.warm_up * 86_400_000
    for number, event in enumerate(results.scenario.events, 1):
        at = time_ms(event.at)
        if at >= first:
            axes.axvline(at / 86_400_000 + 1, color=ORIGIN, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
            axes.annotate(
                str(number),
                (at / 86_400_000 + 1, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                fontsize=7.5,
                color=ORIGIN,
                ha="center",
                annotation_clip=False,
            )


def _percent(axes: Any) -> None:
    axes.yaxis.set_major_formatter(import_module("matplotlib.ticker").PercentFormatter(1.0, decimals=0))


def _ratio(run: Run, tier: str) -> Array:
    total = hits = np.zeros(0)
    for number, tally in enumerate(run.tallies):
        rows = tally.sent[: tally.edges].sum(axis=0) if tier == "edge" else tally.sent[tally.edges]
        rows = tally.counted(rows)
        served, requested = rows[HIT] + rows[DELAYED], rows[:FAILED].sum(axis=0)
        hits, total = (hits + served, total + requested) if number else (served, requested)
    return np.asarray(hits / np.maximum(total, 1))


def hit_ratios(results: Results) -> str:
    """Byte hit ratio by hour of edges and shields."""
    svgs: list[str] = []
    name = results.alternatives[0]
    with _drawing(WIDE, svgs) as axes:
        hours = _hours(results)
        for tier, colour in (("edge", EDGE), ("shield", SHIELD)):
            values = np.array([_ratio(run, tier) for run in results.of(name)])
            axes.plot(hours, values.mean(axis=0), color=colour, label=f"{tier}s")
            if len(values) > 1:
                axes.fill_between(hours, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(0, 1)
        _percent(axes)
        _day_axis(axes, results)
        axes.legend(loc="lower right", ncols=2)
    return svgs[0]


def decisions(results: Results) -> str:
    """Rate by decision and hour, stacked."""
    svgs: list[str] = []
    name = results.alternatives[0]

    def rows(run: Run) -> Array:
        return np.asarray(sum(tally.counted(tally.sent[: tally.edges].sum(axis=0)) for tally in run.tallies))

    def requests(run: Run) -> Array:
        return np.asarray(sum(tally.counted(tally.requests[: tally.edges].sum(axis=0)) for tally in run.tallies))

    sent, asked = results.over_seeds(name, rows) * 8 / 3600 / 1e9, results.over_seeds(name, requests)
    with _drawing(WIDE, svgs) as axes:
        shown = [number for number in DECISION_COLOURS if number != FAILED and sent[number].sum() > 0]
        axes.stackplot(
            _hours(results),
            *(sent[number] for number in shown),
            colors=[DECISION_COLOURS[number] for number in shown],
            labels=[DECISION_NAMES[number] for number in shown],
            linewidth=0,
        )
        if asked[FAILED].sum():
            failed = axes.twinx()
            failed.plot(_hours(results), asked[FAILED], color=DECISION_COLOURS[FAILED], label="failed requests, right")
            failed.set_ylabel("failed requests per hour")
            failed.grid(visible=False)
            failed.spines["right"].set_visible(True)
            failed.legend(loc="upper right")
        axes.set_ylabel("Gb/s to viewers")
        _day_axis(axes, results)
        axes.set_ylim(0, max(float(sent[shown].sum(axis=0).max()), 1e-9) * 1.2)
        axes.legend(loc="upper left", ncols=7)
    return svgs[0]


def transit(results: Results, isp: int, *, wide: bool = False) -> str:
    """A provider's transit by five minutes: misses, fill, and the billed rate."""
    svgs: list[str] = []
    name = results.alternatives[0]

    def reactive(run: Run) -> Array:
        tally = run.tallies[isp]
        return np.asarray(tally.traffic[tally.edges])

    def fill(run: Run) -> Array:
        tally = run.tallies[isp]
        return np.asarray(tally.fill[tally.edges])

    first = results.scenario.days.warm_up * BINS_PER_DAY
    scale = 8 / 300 / 1e6
    misses, fills = results.over_seeds(name, reactive)[first:] * scale, results.over_seeds(name, fill)[first:] * scale
    bins = np.arange(first, first + len(misses)) / BINS_PER_DAY + 1
    billed = float(np.mean([p95_mbps(transit_bins(run.tallies[isp])) for run in results.of(name)]))
    with _drawing(WIDE if wide else HALF, svgs) as axes:
        axes.stackplot(bins, misses, fills, colors=[SHIELD, EDGE], labels=["misses", "fill"], linewidth=0)
        axes.axhline(billed, color=ORIGIN, linewidth=1.2, label=f"95th percentile: {billed:,.0f} Mb/s")
        axes.set_ylabel("Mb/s")
        _day_axis(axes, results)
        axes.legend(loc="upper left", fontsize=8)
        axes.set_ylim(0, max(float((misses + fills).max()), billed, 1e-9) * 1.3)
    return svgs[0]


def fill_nights(results: Results) -> str | None:
    """Fill of each night, compared with the capacity of the window; None if there was no fill."""
    name = results.alternatives[0]
    scenario = results.variants[name]
    nights: dict[int, list[Array]] = {}
    for run in results.of(name):
        by_day: dict[int, Array] = {}
        for tally in run.tallies:
            for night in tally.fills:
                if night.day >= scenario.days.warm_up:
                    row = np.array([night.arrived, night.late, night.replaced])
                    by_day[night.day] = by_day.get(night.day, np.zeros(3)) + row
        for day, row in by_day.items():
            nights.setdefault(day, []).append(row)
    if not nights:
        return None
    svgs: list[str] = []
    days = sorted(nights)
    rows = np.array([np.mean(nights[day], axis=0) for day in days]) / 1e12
    room = sum(
        isp.edges
        * window_bytes(
            min(
                scenario.edge_of(isp).fill.mbps,
                isp.transit.gbps * 1000 * scenario.edge_of(isp).fill.transit_share / isp.edges,
            ),
            scenario.edge_of(isp).fill.hours,
        )
        for isp in scenario.isps
    )
    with _drawing(HALF, svgs) as axes:
        places = np.arange(len(days))
        axes.bar(places, rows[:, 0], width=0.55, color=EDGE, label="arrived")
        if rows[:, 1].any():
            axes.bar(places, rows[:, 1], width=0.55, bottom=rows[:, 0], color=ORIGIN, label="late")
        axes.plot(places, rows[:, 2], "o", color=INK, markersize=4, label="replaced")
        most = float((rows[:, 0] + rows[:, 1]).max())
        if room / 1e12 < 3 * most:
            axes.axhline(room / 1e12, color=FAINT, linewidth=1, linestyle="--", label="capacity of the windows")
        else:
            axes.set_title(
                f"capacity of the windows: {room / 1e12:,.1f} TB per night", fontsize=8.5, color=FAINT, loc="left"
            )
        axes.set_xticks(places, [f"day {day + 1}" for day in days])
        axes.set_ylabel("TB, all edges")
        axes.set_ylim(0, max(most, 1e-9) * 1.35)
        axes.legend(loc="upper right", ncols=3, fontsize=8)
    return svgs[0]


def viewing(results: Results, what: str) -> str:
    """``bitrate`` or ``stalls``, by hour and provider."""
    svgs: list[str] = []
    name = results.alternatives[0]
    with _drawing(HALF, svgs) as axes:
        for number, isp in enumerate(results.scenario.isps):

            def series(run: Run, number: int = number) -> Array:
                seen = run.tallies[number].seen[run.tallies[number].warm_up_hours :]
                if what == "bitrate":
                    return np.asarray(seen[:, KBPS] / np.maximum(seen[:, SEGMENTS], 1) / 1000)
                watched = seen[:, SEGMENTS] * results.segment_ms
                return np.asarray(seen[:, STALL_MS] / np.maximum(watched + seen[:, STALL_MS], 1))

            axes.plot(_hours(results), results.over_seeds(name, series), color=SERIES[number % 8], label=isp.name)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
        if what == "bitrate":
            axes.set_ylabel("Mb/s")
        else:
            axes.yaxis.set_major_formatter(import_module("matplotlib.ticker").PercentFormatter(1.0, decimals=None))
        _day_axis(axes, results)
        axes.legend(loc="lower right" if what == "bitrate" else "upper right", ncols=3)
    return svgs[0]


def money(results: Results) -> str:
    """Monthly costs by alternative."""
    svgs: list[str] = []
    names = results.alternatives
    parts = ("transit", "egress", "gets", "edges")
    with _drawing((WIDE[0], 1.0 + 0.36 * len(names)), svgs) as axes:
        left = np.zeros(len(names))
        for part, colour in zip(parts, (SHIELD, ORIGIN, "#5f3dc4", FAINT), strict=True):
            values = np.array(
                [
                    np.mean(
                        [
                            sum(getattr(each, part) for each in bills_of(results.variants[name], run.tallies))
                            for run in results.of(name)
                        ]
                    )
                    for name in names
                ]
            )
            label = {"gets": "S3 requests", "egress": "S3 egress"}.get(part, part)
            axes.barh(range(len(names)), values, left=left, color=colour, height=0.55, label=label)
            left += values
        for place, total in enumerate(left):
            axes.annotate(f"{total:,.0f}", (total, place), xytext=(4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, max(float(left.max()), 1e-9) * 1.18)
        axes.xaxis.set_major_formatter(import_module("matplotlib.ticker").StrMethodFormatter("{x:,.0f}"))
        axes.grid(axis="y", visible=False)
        figure_legend(axes, 4)
    return svgs[0]


def figure_legend(axes: Any, columns: int) -> None:
    """Put the legend above the axes."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def alternatives(results: Results, key: str, title: str, *, percent: bool) -> str:
    """A metric of all alternatives: mean, 95 % confidence interval over seeds, and single seeds."""
    svgs: list[str] = []
    names = results.alternatives
    with _drawing((HALF[0], 0.9 + 0.42 * len(names)), svgs) as axes:
        for place, name in enumerate(names):
            mean, half = results.mean(name, key)
            values = [results.metrics(run)[key] for run in results.of(name)]
            colour = EDGE if place == 0 else INK
            axes.plot(values, [place] * len(values), "|", color=FAINT, markersize=9, alpha=0.8)
            axes.errorbar(mean, place, xerr=half or None, fmt="o", color=colour, markersize=6, capsize=3)
            plain = f"{mean:,.3g}" if mean < 1000 else f"{mean:,.0f}"
            text = (f"{mean:.1%}" if mean >= 0.1 else f"{mean:.2%}") if percent else plain
            axes.annotate(text, (mean, place), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.7)
        # Don't magnify differences below a thousandth.
        low, high = axes.get_xlim()
        span = max((high - low) * 1.3, abs(high) * 2e-3, 1e-4)
        start = max(0.0, (low + high - span) / 2)  # none of these figures can be negative
        axes.set_xlim(start, start + span)
        ticker = import_module("matplotlib.ticker")
        if percent:
            axes.xaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=None))
        else:
            digits = max(0, math.ceil(-math.log10(span / 5)))
            axes.xaxis.set_major_formatter(ticker.StrMethodFormatter(f"{{x:,.{digits}f}}"))
        axes.set_title(title, fontsize=9.5, loc="left")
        axes.locator_params(axis="x", nbins=5)
    return svgs[0]


def topology(results: Results) -> str:
    """Viewers, edges, shields and the origin; line widths are proportional to rates."""
    svgs: list[str] = []
    name = results.alternatives[0]
    scenario = results.variants[name]
    runs = results.of(name)
    seconds = results.played_s or scenario.days.counted * 86_400
    rows = sum(isp.edges for isp in scenario.isps)
    height = max(2.6, 0.62 * rows + 0.7 * len(scenario.isps) + 0.4)
    with _drawing((WIDE[0], height), svgs) as axes:
        axes.set_axis_off()
        axes.set_xlim(-0.4, 10.4)
        top, middles = 0.0, []
        widest = 0.0
        flows: list[tuple[float, float, float, float | None, float, str]] = []
        for number, isp in enumerate(scenario.isps):
            tallies = [run.tallies[number] for run in runs]
            ys = [top - 0.95 * place for place in range(isp.edges)]
            middle = sum(ys) / len(ys)
            middles.append(middle)
            sent = np.mean([tally.counted(tally.sent).sum(axis=2) for tally in tallies], axis=0) * 8 / seconds / 1e9
            pulled = (
                np.mean(
                    [
                        sum(n.pulled for n in tally.fills if n.day >= scenario.days.warm_up) * 8 / seconds / 1e9
                        for tally in tallies
                    ]
                )
                if tallies
                else 0.0
            )
            for place, y in enumerate(ys):
                total, missed = float(sent[place].sum()), float(sent[place][list(MISSES)].sum())
                ratio = 1 - missed / total if total else 0.0
                flows.append((1.55, middle, 3.0, y, total, EDGE))
                flows.append((4.6, y, 6.0, middle, missed, SHIELD))
                widest = max(widest, total)
                _box(axes, 3.8, y, f"{isp.name} edge {place + 1}", f"{ratio:.1%} of {_rate(total)}", EDGE)
            total = float(sent[isp.edges].sum())
            missed = float(sent[isp.edges][list(MISSES)].sum())
            ratio = 1 - missed / total if total else 0.0
            flows.append((7.6, middle, 9.0, None, missed + float(pulled), ORIGIN))
            _box(axes, 0.75, middle, f"{isp.name} viewers", f"{isp.share:.0%}", FAINT)
            note = f"{ratio:.1%} of {_rate(total)}"
            _box(axes, 6.8, middle, f"{isp.name} shield", note, SHIELD)
            if pulled:
                axes.annotate(
                    f"+ {_rate(float(pulled))} fill",
                    (6.8, middle + 0.42),
                    fontsize=7.5,
                    color=EDGE,
                    ha="center",
                    va="bottom",
                )
            top = ys[-1] - 1.45
        centre = sum(middles) / len(middles)
        into = sum(flow[4] for flow in flows if flow[5] == ORIGIN)
        _box(axes, 9.6, centre, "origin, S3", _rate(into), ORIGIN)
        for x1, y1, x2, y2, rate, colour in flows:
            y_end = centre if y2 is None else y2
            t = np.linspace(0, 1, 40)
            bend = t * t * (3 - 2 * t)
            width = 0.6 + 11 * rate / max(widest, 1e-12)
            axes.plot(
                x1 + (x2 - x1) * t,
                y1 + (y_end - y1) * bend,
                color=colour,
                linewidth=width,
                alpha=0.35,
                solid_capstyle="butt",
                zorder=0,
            )
        axes.set_ylim(top + 0.85, 0.65)
    return svgs[0]


def _rate(gbps: float) -> str:
    return f"{gbps:,.3g} Gb/s" if gbps >= 1 else f"{gbps * 1000:,.3g} Mb/s"


def _box(axes: Any, x: float, y: float, title: str, note: str, colour: str) -> None:
    patches = import_module("matplotlib.patches")
    axes.add_patch(
        patches.FancyBboxPatch(
            (x - 0.72, y - 0.27),
            1.44,
            0.54,
            boxstyle="round,pad=0.06",
            facecolor="white",
            edgecolor=colour,
            linewidth=1.3,
        )
    )
    axes.text(x, y + 0.1, title, ha="center", va="center", fontsize=8.5, fontweight="bold")
    axes.text(x, y - 0.15, note, ha="center", va="center", fontsize=7.8, color=INK)


def wanted_differences(results: Results) -> Sequence[tuple[str, str, bool]]:
    """Metrics in the comparison of alternatives: key, title, whether it is a share."""
    found = [
        ("byte_hit_ratio", "bytes from edges", True),
        ("transit_p95_mbps", "transit, 95th percentile, Mb/s", False),
        ("stall_ratio", "time stalled", True),
        ("mean_kbps", "mean bitrate, kb/s", False),
    ]
    return found if len(results.alternatives) > 1 else ()
