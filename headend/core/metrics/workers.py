"""One exposition for all worker processes of a server; any of them can answer.

Each process exposes its own metrics at a Unix socket that only this user reaches. Samples keep a label that names the
worker: when a process dies its counters start anew, which Prometheus handles only per time series.
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
"""How long a worker may take to answer; one that is being replaced does not answer."""


@dataclass(frozen=True, slots=True)
class WorkerIndex:
    """Which of a server's worker processes one is.

    Attributes:
        number: From 0; a replacement has the same number.
        count: How many workers there are.
        folder: Where they meet; None for a single worker.
    """

    number: int = 0
    count: int = 1
    folder: Path | None = None

    def socket_path(self, number: int) -> Path:
        """Where a worker exposes its metrics."""
        return (self.folder or Path()) / f"metrics-{number}"


SINGLE = WorkerIndex()


@asynccontextmanager
async def exposed(worker: WorkerIndex, registry: Registry) -> AsyncIterator[None]:
    """Expose metrics to the other workers while the block runs."""

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(registry.exposition())
        writer.close()

    path = worker.socket_path(worker.number)
    path.unlink(missing_ok=True)  # of a worker that was killed
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
