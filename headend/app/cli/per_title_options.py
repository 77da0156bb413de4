"""Options of ladders that are fitted to the title."""

from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from headend.app.cli.options import Command
from headend.app.cli.parameters import FiniteRange
from headend.core.errors import ConfigError
from headend.core.settings import Fit, Targets

TARGETS = Targets()


def per_title(command: Command) -> Command:
    """Add the targets of a per-title ladder; the command gets them as ``targets``, a `Targets`."""

    @click.option(
        "--renditions",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of SDR video renditions of a per-title ladder, at least 3 for each codec. "
        "[default: as many as the ladder gives this master]",
    )
    @click.option(
        "--top-vmaf",
        type=FiniteRange(50, 100),
        default=TARGETS.top_vmaf,
        show_default=True,
        metavar="V",
        help="VMAF of the highest rung of a per-title ladder; more bits would make no visible difference.",
    )
    @click.option(
        "--analysis-share",
        type=FiniteRange(0, 100, min_open=True),
        default=100 * TARGETS.analysis_share,
        show_default=True,
        metavar="PERCENT",
        help="CPU for trial encodes, as a share of the encode's predicted CPU; at least four excerpts are encoded.",
    )
    @wraps(command)
    def wrapped(*, renditions: int | None, top_vmaf: float, analysis_share: float, **others: Any) -> Any:
        return command(targets=Targets(renditions, top_vmaf, analysis_share / 100), **others)

    return wrapped


def fit_per_title(command: Command) -> Command:
    """Add ``--fit`` and the options of `per_title`; ``targets`` is None for a fixed ladder.

    Raises:
        ConfigError: An option for per-title ladders is given with a fixed one.
    """

    @click.option(
        "--fit",
        "wanted",
        type=click.Choice([fit.value for fit in Fit]),
        default=Fit.FIXED.value,
        show_default=True,
        help="Use the ladder's rungs as they are, or place them for this master by trial encodes.",
    )
    @per_title
    @wraps(command)
    def wrapped(*, wanted: str, targets: Targets, **others: Any) -> Any:
        ctx = click.get_current_context()
        if Fit(wanted) is Fit.PER_TITLE:
            return command(targets=targets, **others)
        for name in ("renditions", "top_vmaf", "analysis_share"):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is for a ladder fitted to the title: add --fit {Fit.PER_TITLE}")
        return command(targets=None, **others)

    return wrapped
