"""Placeholder tasks that tell an adaptive cluster how many tasks are waiting, so that it grows.

`encoder.task_queue` gives Dask a task only when a worker can start it. For each waiting one, the scheduler gets a
placeholder that no worker can run.
"""

import contextlib
from typing import Any
from uuid import uuid4

from distributed import Client

PLACEHOLDER = "headend-waiting"
"""Prefix of the placeholders' keys, and the resource that no worker has."""
MAX_PLACEHOLDERS = 1000


class Backlog:
    """The placeholders at one scheduler."""

    def __init__(self) -> None:
        self._futures: list[Any] = []

    def resize(self, client: Client, waiting: int) -> None:
        """Keep one placeholder for each waiting task. Errors are ignored, since this is called again soon."""
        wanted = min(waiting, MAX_PLACEHOLDERS)
        with contextlib.suppress(Exception):  # Dask raises many types when a connection breaks
            if wanted > len(self._futures):
                self._futures += [
                    client.submit(
                        abs, 0, key=f"{PLACEHOLDER}-{uuid4().hex}", pure=False, resources={PLACEHOLDER: 1}, priority=-1
                    )
                    for _ in range(wanted - len(self._futures))
                ]
            elif wanted < len(self._futures):
                client.cancel(self._futures[wanted:], force=True)
                del self._futures[wanted:]

    def clear(self) -> list[Any]:
        """Forget the placeholders; returns their futures."""
        futures, self._futures = self._futures, []
        return futures
