"""Working on several titles: an error in one does not stop the others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from headend.app.cli.progress_lines import ProgressLines
from headend.app.cli.screen import console
from headend.app.cli.wording import count_text, printable
from headend.core.errors import HeadendError, StoreUnavailable
from headend.core.storage.masters import redact

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
        """Yield the items, and print progress lines."""
        lines = ProgressLines()
        for number, item in enumerate(items):
            lines.write(f"{what}: {number:,} of {count_text(self.count, 'title')}")
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
