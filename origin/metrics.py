"""What the origin counts, for Prometheus. Labels are few and fixed: never a title, a path or an address."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one origin, in a registry of their own.

    Attributes:
        cut_off: Clients that read too slowly and were cut off.
        gone: Clients that left in the middle of an answer.
        malformed: Requests that are not HTTP, or go beyond its limits.
        refused: Connections beyond the limit.
        lease_faults: Leases that could not be kept.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._bound: dict[tuple[str, int], tuple[Counter, Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "headend_origin_requests",
            "Requests by kind of object and class of status.",
            ("object", "status"),
            registry=self.registry,
        )
        self._bytes = Counter("headend_origin_sent_bytes", "Bytes of bodies sent.", ("object",), registry=self.registry)
        self._seconds = Histogram(
            "headend_origin_request_seconds",
            "From the request to the last byte handed to the kernel.",
            ("object",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._lookups = Counter(
            "headend_origin_lookups",
            "Files wanted: hit, miss, shared (a read under way) or absent.",
            ("result",),
            registry=self.registry,
        )
        self._reads = Counter(
            "headend_origin_store_reads",
            "Reads of the store: ok, missing, damaged, refused or unavailable.",
            ("result",),
            registry=self.registry,
        )
        self.cut_off = Counter(
            "headend_origin_slow_readers", "Clients cut off for reading too slowly.", registry=self.registry
        )
        self.gone = Counter(
            "headend_origin_disconnects", "Clients that left in the middle of an answer.", registry=self.registry
        )
        self.malformed = Counter(
            "headend_origin_malformed_requests", "Requests that are not HTTP.", registry=self.registry
        )
        self.refused = Counter(
            "headend_origin_refused_connections", "Connections beyond the limit.", registry=self.registry
        )

        self._denied = Counter(
            "headend_origin_denied", "Requests that their tokens do not cover.", ("reason",), registry=self.registry
        )
        self.lease_faults = Counter(
            "headend_origin_lease_faults",
            "Leases that could not be kept; nobody is refused for it.",
            registry=self.registry,
        )

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Export a figure that is read when somebody asks."""
        Gauge(f"headend_origin_{name}", meaning, registry=self.registry).set_function(value)

    def answered(self, kind: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count a request; ``kind`` is the name of a route."""
        bound = self._bound.get((kind, status // 100))
        if bound is None:  # finding a child by its labels costs three times as much as counting
            bound = (
                self._requests.labels(kind, f"{status // 100}xx"),
                self._bytes.labels(kind),
                self._seconds.labels(kind),
            )
            self._bound[kind, status // 100] = bound
        requests, sent, took = bound
        requests.inc()
        sent.inc(sent_bytes)
        took.observe(seconds)

    def looked_up(self, result: str) -> None:
        """Count a file that was wanted."""
        self._lookups.labels(result).inc()

    def denied(self, reason: str) -> None:
        """Count a request that its token does not cover."""
        self._denied.labels(reason).inc()

    def read(self, result: str) -> None:
        """Count a read of the store."""
        self._reads.labels(result).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
