"""Commands on many titles: an error in one title does not stop the others."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from headend.app.cli.progress_lines import ProgressLines
from headend.app.cli.screen import console
from headend.app.cli.wording import count_text, printable
from headend.core.errors import HeadendError, StoreUnavailable
from headend.core.storage.masters import redact

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class FailureCollector:
    """Collects the errors of titles, and reports them together at the end.

    Attributes:
        count: Number of titles.
        errors: The errors, by title.
    """

    count: int
    errors: dict[str, HeadendError] = field(default_factory=dict)

    def with_progress(self, items: Iterable[Item], what: str, count: int | None = None) -> Iterator[Item]:
        """Yield the items, and print progress lines; ``count`` is their number if it is not that of all titles."""
        lines = ProgressLines()
        total = count_text(self.count if count is None else count, "title")
        for number, item in enumerate(items):
            lines.write(f"{what}: {number:,} of {total}")
            yield item

    def in_parallel(
        self,
        titles: Sequence[str],
        work: Callable[[str, Callable[[], bool]], Result],
        *,
        threads: int,
        what: str = "",
    ) -> Iterator[tuple[str, Result]]:
        """Work on several titles in parallel, which hides the latency of S3.

        If it ends early, because of an error or Ctrl-C, titles that have not begun are left out.

        Args:
            titles: The titles.
            work: Called in a thread with a title, and with a function that returns whether to stop early.
            threads: Number of titles in work at the same time.
            what: What is done to the titles, for progress lines; empty for no lines.

        Yields:
            Each title that did not fail, with what ``work`` returned, in order.
        """
        stopped = threading.Event()

        def attempt(title: str) -> Result | HeadendError:
            try:
                return work(title, stopped.is_set)
            except HeadendError as error:
                return error

        with ThreadPoolExecutor(threads) as pool:
            try:
                results = zip(titles, pool.map(attempt, titles), strict=True)
                for title, result in self.with_progress(results, what, len(titles)) if what else results:
                    if isinstance(result, HeadendError):
                        self.fail(title, result)
                    else:
                        yield title, result
            finally:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)

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
