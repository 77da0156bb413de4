"""Charts of results; needs matplotlib, from the extra ``bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headend.core.errors import ConfigError
from headend.core.timing import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

OURS, OTHERS, BOUND = "#0b6e4f", "#9aa5b1", "#d1495b"
PANEL_INCHES = (6.4, 3.4)


@contextmanager
def panels(path: Path, titles: Sequence[str], headline: str) -> Iterator[list[Axes]]:
    """Draw panels in two columns and save them as a PNG.

    Args:
        path: File of the chart.
        titles: One title per panel.
        headline: Title of the whole chart.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("charts need matplotlib: install it with 'pip install matplotlib'") from None
    columns = min(2, len(titles))
    rows = ceil_div(len(titles), columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    figure.suptitle(headline)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    for spare in axes[len(titles) :]:
        spare.set_visible(False)
    yield axes[: len(titles)]
    figure.savefig(path, dpi=110)


def bars(axis: Axes, values: Mapping[str, float], *, ours: str, bound: str, unit: str) -> None:
    """Draw one bar per name, the first on top, labelled with its value.

    Args:
        axis: The panel.
        values: Values by name, in order.
        ours: Name of headend's bar, which is highlighted.
        bound: Name of the reference bar; a line marks its value.
        unit: Unit of the values.
    """
    names = list(values)
    colours = [OURS if name == ours else BOUND if name == bound else OTHERS for name in names]
    drawn = axis.barh(names, list(values.values()), color=colours, height=0.65)
    axis.bar_label(drawn, fmt="%.1f", padding=3, fontsize=9)
    axis.axvline(values[bound], color=BOUND, linewidth=0.8, linestyle=":")
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    axis.margins(x=0.12)
