"""Ranges of numbers that options take."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of numbers. ``nan`` and ``inf`` are refused: no limit compares with them as people mean it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert as `click.FloatRange` does, and refuse what is no finite number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
