"""Working on several titles: an error in one does not stop the others."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from headend.app.cli.screen import console
from headend.app.cli.wording import count_text, printable
from headend.core.errors import HeadendError, StoreUnavailable
from headend.core.storage.masters import redact

EVERY_S = 10.0
"""Interval between progress lines."""
Item = TypeVar("Item")


@dataclass(slots=True)
class FailureCollector:
    """Collects the errors of several titles.

    Attributes:
        count: Number of titles.
        errors: The errors, by title.
    """

    count: int
    errors: dict[str, HeadendError] = field(default_factory=dict)

    def with_progress(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """Yield the items, and print a progress line on standard error every `EVERY_S`."""
        written_s = time.monotonic()
        for number, item in enumerate(items):
            if time.monotonic() - written_s >= EVERY_S:
                written_s = time.monotonic()
                console(stderr=True).print(f"headend: {what}: {number:,} of {count_text(self.count, 'title')}")
            yield item

    def fail(self, title: str, error: HeadendError) -> None:
        """Record an error; raise it at once if there is only one title, or if all others would fail too."""
        if self.count == 1 or isinstance(error, StoreUnavailable):
            raise error
        self.errors[title] = error
        console(stderr=True).print(printable(redact(f"headend: {title}: {error.message}")))

    def end(self) -> None:
        """Raise an error, of the type of the first one, if any title failed."""
        if self.errors:
            first = next(iter(self.errors.values()))
            raise type(first)(f"{len(self.errors)} of {self.count} titles failed; see the lines above")
