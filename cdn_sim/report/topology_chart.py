"""The chart of viewers, edges, shields and the origin, as SVG text; line widths are proportional to rates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from cdn_sim.accounting import Tally
from cdn_sim.compiling import Array
from cdn_sim.model import Isp
from cdn_sim.report.drawing import EDGE, FAINT, INK, ORIGIN, SHIELD, WIDE, drawing
from cdn_sim.results import MISSES, Results

VIEWERS_X, EDGES_X, SHIELDS_X, ORIGIN_X = 0.75, 3.8, 6.8, 9.6
"""Centres of the four columns of boxes."""
BOX_WIDTH = 1.6
"""Width of a box with its rounded border."""
EDGE_GAP, PROVIDER_GAP = 0.95, 1.45
"""Vertical distance of two edges of a provider, and of two providers."""


@dataclass(frozen=True, slots=True)
class _Flow:
    """Traffic between two boxes, from left to right."""

    start: tuple[float, float]
    end: tuple[float, float]
    gbps: float
    colour: str


@dataclass(frozen=True, slots=True)
class _Traffic:
    """Mean traffic of a provider.

    Attributes:
        edges: Gb/s that each edge sends.
        edge_misses: Gb/s of these that come from the shield.
        shield: Gb/s that the shield sends.
        shield_misses: Gb/s of these that come from the origin.
        fill: Gb/s of fill that come from the origin.
    """

    edges: tuple[float, ...]
    edge_misses: tuple[float, ...]
    shield: float
    shield_misses: float
    fill: float


def topology(results: Results) -> str:
    """Viewers, edges, shields and the origin; line widths are proportional to rates."""
    svgs: list[str] = []
    name = results.alternatives[0]
    scenario = results.variants[name]
    runs = results.of(name)
    seconds = results.played_s or scenario.days.counted * 86_400
    rows = list(_rows(scenario.isps))
    middles = [sum(ys) / len(ys) for ys in rows]
    centre = sum(middles) / len(middles)
    height = max(2.6, 0.62 * sum(map(len, rows)) + 0.7 * len(rows) + 0.4)
    with drawing((WIDE[0], height), svgs) as axes:
        axes.set_axis_off()
        axes.set_xlim(-0.4, 10.4)
        flows: list[_Flow] = []
        for number, (isp, ys) in enumerate(zip(scenario.isps, rows, strict=True)):
            traffic = _traffic([run.tallies[number] for run in runs], isp.edges, scenario.days.warm_up, seconds)
            _draw_provider(axes, isp, ys, traffic)
            flows += _flows(ys, centre, traffic)
        _box(axes, ORIGIN_X, centre, "origin, S3", _rate(sum(f.gbps for f in flows if f.colour == ORIGIN)), ORIGIN)
        widest_gbps = max(flow.gbps for flow in flows if flow.colour == EDGE)
        for flow in flows:
            _draw_flow(axes, flow, widest_gbps)
        axes.set_ylim(rows[-1][-1] - PROVIDER_GAP + 0.85, 0.65)
    return svgs[0]


def _rows(isps: Sequence[Isp]) -> Iterator[list[float]]:
    """The height of each edge, provider by provider, from the top."""
    top = 0.0
    for isp in isps:
        ys = [top - EDGE_GAP * index for index in range(isp.edges)]
        yield ys
        top = ys[-1] - PROVIDER_GAP


def _traffic(tallies: Sequence[Tally], edges: int, warm_up_days: int, seconds: float) -> _Traffic:
    """Mean traffic over the runs of a provider."""
    to_gbps = 8 / seconds / 1e9
    sent: Array = np.mean([tally.counted(tally.sent).sum(axis=2) for tally in tallies], axis=0) * to_gbps
    pulled = [sum(night.pulled for night in tally.fills if night.day >= warm_up_days) * to_gbps for tally in tallies]
    totals, missed = sent.sum(axis=1), sent[:, list(MISSES)].sum(axis=1)
    return _Traffic(
        edges=tuple(totals[:edges].tolist()),
        edge_misses=tuple(missed[:edges].tolist()),
        shield=float(totals[edges]),
        shield_misses=float(missed[edges]),
        fill=float(np.mean(pulled)),
    )


def _draw_provider(axes: Any, isp: Isp, ys: Sequence[float], traffic: _Traffic) -> None:
    for number, (y, total, missed) in enumerate(zip(ys, traffic.edges, traffic.edge_misses, strict=True), start=1):
        _box(axes, EDGES_X, y, f"{isp.name} edge {number}", _hits_of(total, missed), EDGE)
    middle = sum(ys) / len(ys)
    _box(axes, VIEWERS_X, middle, f"{isp.name} viewers", f"{isp.share:.0%}", FAINT)
    _box(axes, SHIELDS_X, middle, f"{isp.name} shield", _hits_of(traffic.shield, traffic.shield_misses), SHIELD)
    if traffic.fill:
        above = (SHIELDS_X, middle + 0.42)
        axes.annotate(f"+ {_rate(traffic.fill)} fill", above, fontsize=7.5, color=EDGE, ha="center", va="bottom")


def _flows(ys: Sequence[float], centre: float, traffic: _Traffic) -> Iterator[_Flow]:
    half, middle = BOX_WIDTH / 2, sum(ys) / len(ys)
    for y, total, missed in zip(ys, traffic.edges, traffic.edge_misses, strict=True):
        yield _Flow((VIEWERS_X + half, middle), (EDGES_X - half, y), total, EDGE)
        yield _Flow((EDGES_X + half, y), (SHIELDS_X - half, middle), missed, SHIELD)
    yield _Flow((SHIELDS_X + half, middle), (ORIGIN_X - 0.6, centre), traffic.shield_misses + traffic.fill, ORIGIN)


def _draw_flow(axes: Any, flow: _Flow, widest_gbps: float) -> None:
    (x1, y1), (x2, y2) = flow.start, flow.end
    t = np.linspace(0, 1, 40)
    bend = t * t * (3 - 2 * t)
    axes.plot(
        x1 + (x2 - x1) * t,
        y1 + (y2 - y1) * bend,
        color=flow.colour,
        linewidth=0.6 + 11 * flow.gbps / max(widest_gbps, 1e-12),
        alpha=0.35,
        solid_capstyle="butt",
        zorder=0,
    )


def _hits_of(total_gbps: float, missed_gbps: float) -> str:
    """The hit ratio and the traffic, such as ``97.1% of 12 Gb/s``."""
    ratio = 1 - missed_gbps / total_gbps if total_gbps else 0.0
    return f"{ratio:.1%} of {_rate(total_gbps)}"


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
