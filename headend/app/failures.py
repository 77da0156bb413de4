"""Failed attempts at tasks: recording them in the store, and reporting them as notices."""

from collections.abc import Callable

from encoder import cluster
from headend.core import records
from headend.core.errors import StorageError
from headend.core.storage import Store


def notice_of(event: cluster.Failed, label: str) -> cluster.Notice:
    """Describe a failed attempt for people; ``label`` names the task."""
    again = "no further attempt" if event.last else "trying again"
    return cluster.Notice(f"attempt {event.attempt} at {label} failed, {again}: {event.error.message}")


def record(store: Store, title: str, event: cluster.Failed, on_event: Callable[[cluster.Event], None]) -> None:
    """Record a failed attempt in a title's records; if the store fails, report that instead of failing the job."""
    try:
        records.write_attempt(store, title, records.attempt_of(event.task, event.attempt, event.error))
    except StorageError as error:
        on_event(cluster.Notice(f"a failed attempt could not be recorded: {error.message}"))
