"""The report's charts, as SVG text. Needs matplotlib, from the extra ``sim``."""

import math
from collections.abc import Sequence
from importlib import import_module

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
from cdn_sim.report.drawing import (
    EDGE,
    FAINT,
    HALF,
    INK,
    ORIGIN,
    SERIES,
    SHIELD,
    WIDE,
    day_axis,
    drawing,
    legend_above,
    percent_axis,
)
from cdn_sim.results import Results, Run, bills_of, transit_bins

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


def _hours(results: Results) -> Array:
    """The hours after the warm-up, in days from the start of the run."""
    days = results.scenario.days
    return np.asarray(np.arange(days.warm_up * DAY_HOURS, days.all * DAY_HOURS) / DAY_HOURS + 1)


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
    with drawing(WIDE, svgs) as axes:
        hours = _hours(results)
        for tier, colour in (("edge", EDGE), ("shield", SHIELD)):
            values = np.array([_ratio(run, tier) for run in results.of(name)])
            axes.plot(hours, values.mean(axis=0), color=colour, label=f"{tier}s")
            if len(values) > 1:
                axes.fill_between(hours, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(0, 1)
        percent_axis(axes)
        day_axis(axes, results)
        legend_above(axes, 2)
    return svgs[0]


def decisions(results: Results) -> str:
    """Rate by decision and hour, stacked."""
    svgs: list[str] = []
    name = results.alternatives[0]

    def rows(run: Run) -> Array:
        return np.asarray(sum(tally.counted(tally.sent[: tally.edges].sum(axis=0)) for tally in run.tallies))

    def requests(run: Run) -> Array:
        return np.asarray(sum(tally.counted(tally.requests[: tally.edges].sum(axis=0)) for tally in run.tallies))

    sent, asked = results.over_seeds(name, rows) * 8 / 3600, results.over_seeds(name, requests)
    peak_bps = float(sent[:FAILED].sum(axis=0).max())
    scale, unit = (1e9, "Gb/s") if peak_bps >= 1e9 else (1e6, "Mb/s")
    sent = sent / scale
    with drawing(WIDE, svgs) as axes:
        shown = [number for number in DECISION_COLOURS if number != FAILED and sent[number].sum() > 0]
        axes.stackplot(
            _hours(results),
            *(sent[number] for number in shown),
            colors=[DECISION_COLOURS[number] for number in shown],
            labels=[DECISION_NAMES[number] for number in shown],
            linewidth=0,
        )
        failed = None
        if asked[FAILED].sum():
            failed = axes.twinx()
            failed.plot(_hours(results), asked[FAILED], color=DECISION_COLOURS[FAILED], label="failed requests, right")
            failed.set_ylabel("failed requests per hour")
            failed.grid(visible=False)
            failed.spines["right"].set_visible(True)
            failed.set_ylim(0, float(asked[FAILED].max()) * 1.05)
        axes.set_ylabel(f"{unit} to viewers")
        day_axis(axes, results)
        axes.set_ylim(0, max(peak_bps / scale, 1e-9) * 1.05)
        legend_above(axes, 8, failed)
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
    with drawing(WIDE if wide else HALF, svgs) as axes:
        axes.stackplot(bins, misses, fills, colors=[SHIELD, EDGE], labels=["misses", "fill"], linewidth=0)
        axes.axhline(billed, color=ORIGIN, linewidth=1.2, label=f"95th percentile: {billed:,.0f} Mb/s")
        axes.set_ylabel("Mb/s")
        day_axis(axes, results)
        axes.set_ylim(0, max(float((misses + fills).max()), billed, 1e-9) * 1.05)
        legend_above(axes, 3)
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
    rows = np.array([np.mean(nights[day], axis=0) for day in days])
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
    most = float((rows[:, 0] + rows[:, 1]).max())
    scale, unit = (1e12, "TB") if most >= 1e12 else (1e9, "GB")
    rows, room, most = rows / scale, room / scale, most / scale
    with drawing(HALF, svgs) as axes:
        places = np.arange(len(days))
        axes.bar(places, rows[:, 0], width=0.55, color=EDGE, label="arrived")
        if rows[:, 1].any():
            axes.bar(places, rows[:, 1], width=0.55, bottom=rows[:, 0], color=ORIGIN, label="late")
        axes.plot(places, rows[:, 2], "o", color=INK, markersize=4, label="replaced")
        if room < 3 * most:
            axes.axhline(room, color=FAINT, linewidth=1, linestyle="--", label="capacity of the windows")
        else:
            axes.set_xlabel(f"capacity of the windows: {room:,.0f} {unit} per night", fontsize=8.5, color=FAINT)
        axes.set_xticks(places, [f"day {day + 1}" for day in days])
        axes.set_ylabel(f"{unit}, all edges")
        axes.set_ylim(0, max(most, room if room < 3 * most else 0, float(rows[:, 2].max()), 1e-9) * 1.05)
        legend_above(axes, 4)
    return svgs[0]


def viewing(results: Results, what: str) -> str:
    """``bitrate`` or ``stalls``, by hour and provider."""
    svgs: list[str] = []
    name = results.alternatives[0]
    with drawing(HALF, svgs) as axes:
        for number, isp in enumerate(results.scenario.isps):

            def series(run: Run, number: int = number) -> Array:
                experience = run.tallies[number].experience[run.tallies[number].warm_up_hours :]
                if what == "bitrate":
                    return np.asarray(experience[:, KBPS] / np.maximum(experience[:, SEGMENTS], 1) / 1000)
                watched = experience[:, SEGMENTS] * results.segment_ms
                return np.asarray(experience[:, STALL_MS] / np.maximum(watched + experience[:, STALL_MS], 1))

            axes.plot(_hours(results), results.over_seeds(name, series), color=SERIES[number % 8], label=isp.name)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
        if what == "bitrate":
            axes.set_ylabel("Mb/s")
        else:
            axes.yaxis.set_major_formatter(import_module("matplotlib.ticker").PercentFormatter(1.0, decimals=None))
        day_axis(axes, results)
        legend_above(axes, 4)
    return svgs[0]


def money(results: Results) -> str:
    """Monthly costs by alternative."""
    svgs: list[str] = []
    names = results.alternatives
    parts = ("transit", "egress", "gets", "edges")
    with drawing((WIDE[0], 1.0 + 0.36 * len(names)), svgs) as axes:
        left = np.zeros(len(names))
        for part, colour in zip(parts, (SHIELD, ORIGIN, "#5f3dc4", FAINT), strict=True):
            values = np.array(
                [
                    np.mean(
                        [
                            sum(getattr(bill, part) for bill in bills_of(results.variants[name], run.tallies))
                            for run in results.of(name)
                        ]
                    )
                    for name in names
                ]
            )
            label = {"gets": "S3 requests", "egress": "S3 egress"}.get(part, part)
            axes.barh(range(len(names)), values, left=left, color=colour, height=0.55, label=label)
            left += values
        for index, total in enumerate(left):
            axes.annotate(f"{total:,.0f}", (total, index), xytext=(4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, max(float(left.max()), 1e-9) * 1.18)
        axes.xaxis.set_major_formatter(import_module("matplotlib.ticker").StrMethodFormatter("{x:,.0f}"))
        axes.grid(axis="y", visible=False)
        legend_above(axes, 4)
    return svgs[0]


def alternatives(results: Results, key: str, title: str, *, percent: bool) -> str:
    """A metric of all alternatives: mean, 95 % confidence interval over seeds, and single seeds."""
    svgs: list[str] = []
    names = results.alternatives
    with drawing((HALF[0], 0.9 + 0.42 * len(names)), svgs) as axes:
        for index, name in enumerate(names):
            mean, half = results.mean(name, key)
            values = [results.metrics(run)[key] for run in results.of(name)]
            colour = EDGE if index == 0 else INK
            axes.plot(values, [index] * len(values), "|", color=FAINT, markersize=9, alpha=0.8)
            axes.errorbar(mean, index, xerr=half or None, fmt="o", color=colour, markersize=6, capsize=3)
            plain = f"{mean:,.3g}" if mean < 1000 else f"{mean:,.0f}"
            text = (f"{mean:.1%}" if mean >= 0.1 else f"{mean:.2%}") if percent else plain
            axes.annotate(text, (mean, index), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
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


def wanted_differences(results: Results) -> Sequence[tuple[str, str, bool]]:
    """Metrics in the comparison of alternatives: key, title, whether it is a share."""
    found = [
        ("byte_hit_ratio", "bytes from edges", True),
        ("transit_p95_mbps", "transit, 95th percentile, Mb/s", False),
        ("stall_ratio", "time stalled", True),
        ("mean_kbps", "mean bitrate, kb/s", False),
    ]
    return found if len(results.alternatives) > 1 else ()
