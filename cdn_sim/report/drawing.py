"""How all charts of the report look: colours, sizes, style and axes. Needs matplotlib, from the extra ``sim``."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from cdn_sim.results import Results
from cdn_sim.scenario import time_ms
from headend.core.errors import ConfigError

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
EDGE, SHIELD, ORIGIN = "#0b7285", "#e8890c", "#c2255c"
SERIES = ("#0b7285", "#e8890c", "#5f3dc4", "#2b8a3e", "#c2255c", "#495057", "#1971c2", "#a61e4d")
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
    library()


def library() -> Any:
    """Return matplotlib.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module("matplotlib")
    except ImportError:
        raise ConfigError("the report's charts need matplotlib: pip install 'headend[sim]', or use --json") from None


@contextmanager
def drawing(size: tuple[float, float], into: list[str]) -> Iterator[Any]:
    """Yield axes, then append the SVG to a list."""
    matplotlib = library()
    with matplotlib.rc_context(_STYLE):
        figure = import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        svg = stream.getvalue()
        head, _, rest = svg[svg.index("<svg") :].partition("<metadata>")
        into.append(head + rest.partition("</metadata>")[2] if rest else head)


def day_axis(axes: Any, results: Results) -> None:
    """Label the days or hours after the warm-up, and mark the scenario's events by their numbers."""
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


def percent_axis(axes: Any) -> None:
    """Label the vertical axis in whole percent."""
    axes.yaxis.set_major_formatter(import_module("matplotlib.ticker").PercentFormatter(1.0, decimals=0))


def legend_above(axes: Any, columns: int, twin: Any = None) -> None:
    """Put the legend above the axes and the numbers of events, where it hides no data.

    Args:
        axes: The axes.
        columns: Number of entries in a row.
        twin: Axes on the right, whose entries come last.
    """
    handles, labels = axes.get_legend_handles_labels()
    if twin is not None:
        more, names = twin.get_legend_handles_labels()
        handles, labels = [*handles, *more], [*labels, *names]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 1.3}
    axes.legend(handles, labels, **place, ncols=columns, columnspacing=1.2)
