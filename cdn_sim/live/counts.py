"""An edge's counters."""

from headend.core.metrics import Registry
from headend.core.metrics.primitives import CounterValue


class EdgeCounts:
    """An edge's counters; their names are those of the simulation's report."""

    def __init__(self, registry: Registry, tier: str, name: str) -> None:
        self._tier, self._name = tier, name
        self._decisions: dict[str, CounterValue] = {}
        self._requests = registry.counter("decisions", "Requests by decision.", "tier", "edge", "decision")
        self._fetched = registry.counter("fetched_bytes", "Bytes from upstream.", "from")
        self._filled = registry.counter("fill_bytes", "Bytes of planned fill by result.", "result")
        self.damaged = registry.counter("damaged", "Bodies from upstream with a wrong digest.")
        self.no_room = registry.counter("no_room", "Objects that did not fit on the disk.")
        self.denied = registry.counter("denied", "Requests that their tokens don't cover.", "reason")
        self.starved = registry.counter("players_starved", "Requests of players whose buffer ran empty (CMCD).")

    def decided(self, decision: str) -> None:
        """Count a request by its decision."""
        counter = self._decisions.get(decision)
        if counter is None:
            counter = self._decisions[decision] = self._requests.labels(self._tier, self._name, decision)
        counter.value += 1

    def fetched(self, role: str, size_bytes: int) -> None:
        """Count bytes from upstream."""
        self._fetched.labels(role).value += size_bytes

    def filled(self, result: str, size_bytes: int) -> None:
        """Count bytes of fill: ``arrived``, ``late`` or ``replaced``."""
        self._filled.labels(result).value += size_bytes
