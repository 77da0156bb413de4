"""A parameter type for ranges of finite numbers."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of finite numbers: ``nan`` and ``inf``, which `click.FloatRange` may accept, are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
