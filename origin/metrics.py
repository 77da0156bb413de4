"""What the origin counts, for Prometheus. Labels are few and fixed: never a title, a path or an address."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from origin.cmcd import Told

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BUFFER_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_BPS = (250e3, 500e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6)


class Count:
    """A number that goes up.

    Attributes:
        value: It.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Tally(Collector):
    """A counter, as plain numbers.

    All of an origin's counting is done on one event loop, so that it needs none of the locks of prometheus_client's own
    counters, which cost as much as a tenth of a small answer.
    """

    def __init__(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._counts: dict[tuple[str, ...], Count] = {}
        if not labels:
            self.of()  # so that it is there before it counts

    def of(self, *labels: str) -> Count:
        """What is counted for values of the labels: to be held by who counts often."""
        return self._counts.setdefault(labels, Count())

    def inc(self, *labels: str) -> None:
        """Count one."""
        self.of(*labels).value += 1

    def collect(self) -> Iterable[Metric]:
        """Hand over the numbers."""
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count.value)
        yield family


class Series:
    """How often values were where, and their sum.

    Args:
        bounds: Where a bucket ends; the last one does not.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value where it belongs."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Spread(Collector):
    """A histogram, as plain numbers."""

    def __init__(self, name: str, meaning: str, bounds: tuple[float, ...], labels: tuple[str, ...] = ()) -> None:
        self._name, self._meaning, self._labels, self._bounds = name, meaning, labels, bounds
        self._series: dict[tuple[str, ...], Series] = {}

    def of(self, *labels: str) -> Series:
        """What is counted for values of the labels."""
        return self._series.setdefault(labels, Series(self._bounds))

    def collect(self) -> Iterable[Metric]:
        """Hand over the numbers, each bucket with those below it."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        names = [*map(str, self._bounds), "+Inf"]
        for labels, series in self._series.items():
            below = [float(count) for count in accumulate(series.counts)]
            family.add_metric(labels, list(zip(names, below, strict=True)), series.total)
        yield family


class Metrics:
    """Counters of one origin, in a registry of their own.

    Attributes:
        lookups: Files wanted.
        reads: Reads of the store.
        retries: Reads that were tried again.
        disk: What became of files in the disk cache.
        cut_off: Clients that read too slowly and were cut off.
        gone: Clients that left in the middle of an answer.
        broken: Answers cut in the middle, since the rest was missing or wrong.
        malformed: Requests that are not HTTP, or go beyond its limits.
        refused: Connections beyond the limit.
        denied: Requests that their tokens do not cover.
        lease_faults: Leases that could not be kept.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers: dict[tuple[str, int], tuple[Count, Count, Series]] = {}
        ProcessCollector(registry=self.registry)
        self._requests = self._tally("requests", "Requests by kind of object and class of status.", "object", "status")
        self._bytes = self._tally("sent_bytes", "Bytes of bodies sent.", "object")
        self._seconds = self._spread(
            "request_seconds", "From the request to the last byte handed to the kernel.", _SECONDS, "object"
        )
        self.lookups = self._tally("lookups", "Files wanted: hit, disk, miss, shared (being read) or absent.", "result")
        self.reads = self._tally(
            "store_reads", "Reads of the store: ok, missing, damaged, refused or unavailable.", "result"
        )
        self.retries = self._tally("store_retries", "Reads of the store that were tried again.")
        self.disk = self._tally("disk_cache", "Files in the disk cache: kept, let go, damaged or failed.", "result")
        self.cut_off = self._tally("slow_readers", "Clients cut off for reading too slowly.")
        self.gone = self._tally("disconnects", "Clients that left in the middle of an answer.")
        self.broken = self._tally("broken_answers", "Answers cut short, since the store's object was cut or damaged.")
        self.malformed = self._tally("malformed_requests", "Requests that are not HTTP.")
        self.refused = self._tally("refused_connections", "Connections beyond the limit.")
        self.denied = self._tally("denied", "Requests that their tokens do not cover.", "reason")
        self.lease_faults = self._tally("lease_faults", "Leases that could not be kept; nobody is refused for it.")
        self._played = self._tally("cmcd_requests", "Requests in which players tell of themselves (CMCD).", "object")
        self._starved = self._tally("cmcd_starved", "Requests of players whose buffer ran dry.")
        self._buffer = self._spread("cmcd_buffer_seconds", "What players have in their buffers.", _BUFFER_S)
        self._throughput = self._spread("cmcd_throughput_bps", "What players measure of the network.", _BPS)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Export a figure that is read when somebody asks."""
        Gauge(f"headend_origin_{name}", meaning, registry=self.registry).set_function(value)

    def answered(self, kind: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count a request; ``kind`` is the name of a route."""
        answer = (kind, status // 100)
        counted = self._answers.get(answer)
        if counted is None:
            requests = self._requests.of(kind, f"{status // 100}xx")
            counted = self._answers[answer] = (requests, self._bytes.of(kind), self._seconds.of(kind))
        requests, sent, took = counted
        requests.value += 1
        sent.value += sent_bytes
        took.observe(seconds)

    def told(self, told: Told) -> None:
        """Count what a player tells of itself."""
        self._played.inc(told.object)
        if told.starved:
            self._starved.inc()
        if told.buffer_s is not None:
            self._buffer.of().observe(told.buffer_s)
        if told.throughput_bps is not None:
            self._throughput.of().observe(told.throughput_bps)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def _tally(self, name: str, meaning: str, *labels: str) -> Tally:
        tally = Tally(f"headend_origin_{name}", meaning, labels)
        self.registry.register(tally)
        return tally

    def _spread(self, name: str, meaning: str, bounds: tuple[float, ...], *labels: str) -> Spread:
        spread = Spread(f"headend_origin_{name}", meaning, bounds, labels)
        self.registry.register(spread)
        return spread
