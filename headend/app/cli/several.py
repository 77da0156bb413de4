"""Work on several titles: one that fails does not keep the others from being done."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from headend.app.cli.screen import console
from headend.app.cli.wording import count_text, printable
from headend.core.errors import HeadendError, StoreUnavailable
from headend.core.storage.masters import redact

EVERY_S = 10.0
"""How often it is told how many titles are done."""
Item = TypeVar("Item")


@dataclass(slots=True)
class FailureCollector:
    """Keeps what failed of several titles.

    Attributes:
        count: How many titles there are.
        errors: What failed, by title.
    """

    count: int
    errors: dict[str, HeadendError] = field(default_factory=dict)

    def with_progress(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """The same items, while standard error gets a line now and then of how many there were."""
        said_s = time.monotonic()
        for number, item in enumerate(items):
            if time.monotonic() - said_s >= EVERY_S:
                said_s = time.monotonic()
                console(stderr=True).print(f"headend: {what}: {number:,} of {count_text(self.count, 'title')}")
            yield item

    def fail(self, title: str, error: HeadendError) -> None:
        """Take in that a title has failed; ends all where it was the only one, or where nothing will go better."""
        if self.count == 1 or isinstance(error, StoreUnavailable):
            raise error
        self.errors[title] = error
        console(stderr=True).print(printable(redact(f"headend: {title}: {error.message}")))

    def end(self) -> None:
        """Raise an error of the first one's kind if any title has failed."""
        if self.errors:
            first = next(iter(self.errors.values()))
            raise type(first)(f"{len(self.errors)} of {self.count} titles failed; the lines above say why")
