"""Counters and histograms without locks.

A server updates its metrics from one event loop, so it doesn't need the locks of prometheus_client's own counters,
which take up to a tenth of the time of a small response. Label values must be few and fixed: never a title, a path or
an address.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class CounterValue:
    """A counter for one set of label values; keep a reference to it on hot paths.

    Attributes:
        value: The count.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter(Collector):
    """A counter with labels."""

    def __init__(self, name: str, help: str, label_names: tuple[str, ...] = ()) -> None:
        self._name, self._help, self._label_names = name, help, label_names
        self._values: dict[tuple[str, ...], CounterValue] = {}
        if not label_names:
            self.labels()  # so that it is exported before it is first incremented

    def labels(self, *values: str) -> CounterValue:
        """The counter for these label values."""
        counter = self._values.get(values)
        if counter is None:
            counter = self._values[values] = CounterValue()
        return counter

    def inc(self, *values: str) -> None:
        """Add one."""
        self.labels(*values).value += 1

    def collect(self) -> Iterable[Metric]:
        """Export the counts."""
        family = CounterMetricFamily(self._name, self._help, labels=self._label_names)
        for values, counter in self._values.items():
            family.add_metric(values, counter.value)
        yield family


class HistogramValue:
    """A histogram for one set of label values.

    Args:
        bounds: Upper bounds of the buckets, ascending; one more bucket has no bound.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """A histogram with labels."""

    def __init__(self, name: str, help: str, bounds: tuple[float, ...], label_names: tuple[str, ...] = ()) -> None:
        self._name, self._help, self._label_names, self._bounds = name, help, label_names, bounds
        self._values: dict[tuple[str, ...], HistogramValue] = {}

    def labels(self, *values: str) -> HistogramValue:
        """The histogram for these label values."""
        histogram = self._values.get(values)
        if histogram is None:
            histogram = self._values[values] = HistogramValue(self._bounds)
        return histogram

    def collect(self) -> Iterable[Metric]:
        """Export the counts; each bucket includes those below it."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._label_names)
        names = [*map(str, self._bounds), "+Inf"]
        for values, histogram in self._values.items():
            cumulative = [float(count) for count in accumulate(histogram.counts)]
            family.add_metric(values, list(zip(names, cumulative, strict=True)), histogram.total)
        yield family


class Registry:
    """The metrics of one server, all with one prefix.

    Args:
        prefix: First part of all names, such as ``headend_origin``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, help: str, *label_names: str) -> Counter:
        """Make a counter."""
        counter = Counter(f"{self._prefix}_{name}", help, label_names)
        self._registry.register(counter)
        return counter

    def histogram(self, name: str, help: str, bounds: tuple[float, ...], *label_names: str) -> Histogram:
        """Make a histogram."""
        histogram = Histogram(f"{self._prefix}_{name}", help, bounds, label_names)
        self._registry.register(histogram)
        return histogram

    def gauge(self, name: str, help: str, value: Callable[[], float]) -> None:
        """Export a number that is computed at each scrape."""
        Gauge(f"{self._prefix}_{name}", help, registry=self._registry).set_function(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
