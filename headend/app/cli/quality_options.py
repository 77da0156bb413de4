"""Options of quality: the check before publishing, its thresholds, and the floor while encoding."""

from dataclasses import replace
from functools import wraps
from typing import Any

import click

from headend.app.cli.options import Command
from headend.app.cli.parameters import FiniteRange
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import DEFAULT_THRESHOLDS, Thresholds
from headend.core.settings import EncodeSettings


def thresholds(command: Command) -> Command:
    """Add the thresholds of quality; the command gets them as ``thresholds``, None if they are not given."""

    @click.option(
        "--qc-min-vmaf",
        "min_vmaf",
        type=FiniteRange(0, 100),
        show_default=f"{DEFAULT_THRESHOLDS.min_vmaf:g}, not for short or small titles",
        metavar="VMAF",
        help="Lowest mean VMAF of the best SDR rendition of each codec.",
    )
    @click.option(
        "--qc-min-segment",
        "min_segment",
        type=FiniteRange(0, 100),
        show_default=f"{DEFAULT_THRESHOLDS.min_segment:g}, not for short or small titles",
        metavar="VMAF",
        help="Lowest mean VMAF of a measured segment of these renditions.",
    )
    @wraps(command)
    def wrapped(*, min_vmaf: float | None, min_segment: float | None, **others: Any) -> Any:
        given = None
        if min_vmaf is not None or min_segment is not None:
            given = Thresholds(
                DEFAULT_THRESHOLDS.min_vmaf if min_vmaf is None else min_vmaf,
                DEFAULT_THRESHOLDS.min_segment if min_segment is None else min_segment,
                are_asked=True,
            )
        return command(thresholds=given, **others)

    return wrapped


def floor(command: Command) -> Command:
    """Add ``--floor`` to the command's ``encode``; apply it below `encode`."""

    @click.option(
        "--floor",
        "floor_vmaf",
        type=FiniteRange(0, 100),
        metavar="VMAF",
        help="Measure the largest SDR size of each codec while it is encoded. Chunks with a segment that is below this "
        "VMAF and not at its cap are encoded once more with more bits.",
    )
    @wraps(command)
    def wrapped(*, floor_vmaf: float | None, encode: EncodeSettings, **others: Any) -> Any:
        return command(encode=replace(encode, floor_vmaf=floor_vmaf), **others)

    return wrapped


def quality(command: Command) -> Command:
    """Add the quality check before publishing; the command gets ``checking`` and ``thresholds``."""
    return checking(thresholds(command))


def checking(command: Command) -> Command:
    """Add ``--qc``; the command gets it as ``checking``."""

    @click.option(
        "--qc",
        type=click.Choice([str(level) for level in Checking]),
        default=str(Checking.SAMPLED),
        envvar="HEADEND_QC",
        show_envvar=True,
        show_default=True,
        help="How much of the picture to measure before the release is published: nothing, a tenth, or all of it. A "
        "release that fails the rules is kept but not published, and the exit status is 6.",
    )
    @wraps(command)
    def wrapped(*, qc: str, **others: Any) -> Any:
        return command(checking=Checking(qc), **others)

    return wrapped
