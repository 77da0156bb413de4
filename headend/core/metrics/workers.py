"""Merges the metrics of a server's worker processes, so that any worker can serve all of them.

Each process serves its own metrics at a Unix socket that only this user can access. Samples get a label that names the
worker: the counters of a restarted process begin at 0, which Prometheus detects only per time series.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from headend.core.metrics.primitives import Registry

WAIT_S = 1.0
"""How long a worker may take to answer; a worker that is being replaced doesn't answer."""


@dataclass(frozen=True, slots=True)
class WorkerIndex:
    """Identifies one of a server's worker processes.

    Attributes:
        number: From 0; a replacement keeps the number.
        count: Number of workers.
        folder: Folder of their sockets; None for a single worker.
    """

    number: int = 0
    count: int = 1
    folder: Path | None = None

    def socket_path(self, number: int) -> Path:
        """Path of the socket where a worker exposes its metrics."""
        return (self.folder or Path()) / f"metrics-{number}"


SINGLE = WorkerIndex()


@asynccontextmanager
async def exposed(worker: WorkerIndex, registry: Registry) -> AsyncIterator[None]:
    """Serve metrics to the other workers for the duration of a ``with`` block."""

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(registry.exposition())
        writer.close()

    path = worker.socket_path(worker.number)
    path.unlink(missing_ok=True)  # left by a worker that was killed
    async with await asyncio.start_unix_server(send, path):
        yield


async def merged(worker: WorkerIndex, registry: Registry) -> bytes:
    """The metrics of all workers, in Prometheus' text format."""
    if worker.count == 1:
        return registry.exposition()
    texts = await asyncio.gather(*(_read(worker.socket_path(number)) for number in range(worker.count)))
    merged_registry = CollectorRegistry()
    merged_registry.register(_Merged(dict(enumerate(texts))))
    return generate_latest(merged_registry)


async def _read(path: Path) -> str:
    try:
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""


class _Merged(Collector):
    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.parser import text_string_to_metric_families  # not needed by a single worker

        merged: dict[str, Metric] = {}
        for number, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    metric.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
        return merged.values()
