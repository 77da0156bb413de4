"""The chart of viewers, edges, shields and the origin, as SVG text; line widths are proportional to rates."""

from importlib import import_module
from typing import Any

import numpy as np

from cdn_sim.report.drawing import EDGE, FAINT, INK, ORIGIN, SHIELD, WIDE, drawing
from cdn_sim.results import MISSES, Results


def topology(results: Results) -> str:
    """Viewers, edges, shields and the origin; line widths are proportional to rates."""
    svgs: list[str] = []
    name = results.alternatives[0]
    scenario = results.variants[name]
    runs = results.of(name)
    seconds = results.played_s or scenario.days.counted * 86_400
    rows = sum(isp.edges for isp in scenario.isps)
    height = max(2.6, 0.62 * rows + 0.7 * len(scenario.isps) + 0.4)
    with drawing((WIDE[0], height), svgs) as axes:
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
