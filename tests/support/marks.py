"""Marks of parametrized tests."""

from typing import Any

import pytest


def repeated(*values: Any, id: str | None = None) -> Any:
    """Return one more input for a test whose other inputs show the same; it is run with ``--heavy`` only."""
    return pytest.param(*values, id=id, marks=pytest.mark.heavy)


def first(count: int, values: Any) -> list[Any]:
    """Return the inputs of a test; all but the first ones are run with ``--heavy`` only."""
    return [value if number < count else repeated(value) for number, value in enumerate(values)]
