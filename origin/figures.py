"""Figures of all processes of an origin in one answer, whichever of them is asked.

Each process tells its own at a socket that only this user reaches. They keep a label that says whose they are: when a
process dies its counters begin anew, which Prometheus only understands of each by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from origin.metrics import Metrics

WAIT_S = 1.0
"""How long a process may take to tell its figures; one that is being replaced tells none."""


@dataclass(frozen=True, slots=True)
class Post:
    """Which of an origin's processes one is.

    Attributes:
        place: Its number, from 0; whoever replaces it has the same.
        places: How many there are.
        meeting: A folder of all of them; None for one alone.
    """

    place: int = 0
    places: int = 1
    meeting: Path | None = None

    def address(self, place: int) -> Path:
        """Where a process tells its figures."""
        return (self.meeting or Path()) / f"figures-{place}"


ALONE = Post()


@asynccontextmanager
async def told(post: Post, metrics: Metrics) -> AsyncIterator[None]:
    """Tell figures to the other processes while the block runs."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(metrics.exposition())
        writer.close()

    post.address(post.place).unlink(missing_ok=True)  # of one that was killed
    async with await asyncio.start_unix_server(tell, post.address(post.place)):
        yield


async def gathered(post: Post, metrics: Metrics) -> bytes:
    """The figures of all processes, in Prometheus' text format."""
    if post.places == 1:
        return metrics.exposition()
    texts = await asyncio.gather(*(_asked(post.address(place)) for place in range(post.places)))
    registry = CollectorRegistry()
    registry.register(_Merged(dict(enumerate(texts))))
    return generate_latest(registry)


async def _asked(address: Path) -> str:
    try:
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_unix_connection(address)
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
        merged: dict[str, Metric] = {}
        for place, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    metric.add_sample(sample.name, {**sample.labels, "worker": str(place)}, sample.value)
        return merged.values()
