"""Decide which workers of a cluster may get tasks, and why others may not. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encoder.scheduling import Worker

FROZEN_S = 30.0
"""A worker that has been silent for this long counts as frozen, and its tasks go elsewhere."""
MEMORY_SHARE = 0.8
"""Share of a machine's memory that tasks may take; the rest is for uploads and for other processes."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The state of a worker, as its scheduler reports it.

    Attributes:
        address: Unique in a cluster.
        threads: Number of tasks that it runs at once.
        memory_bytes: Its ``--memory-limit``; 0 for none.
        status: Dask's name for its state.
        silent_s: Time since its last message.
        host: Its machine.
    """

    address: str
    threads: int
    memory_bytes: int
    status: str
    silent_s: float
    host: str


@dataclass(frozen=True, slots=True)
class Requirements:
    """The versions that a worker must have.

    Attributes:
        headend: headend's version.
        tool: FFmpeg's version line; None for any.
    """

    headend: str
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the last update.

    Attributes:
        new: Addresses of workers whose versions have to be queried.
        frozen: Addresses of workers that have just stopped answering.
        back: Addresses of workers that answer again.
    """

    new: tuple[str, ...]
    frozen: tuple[str, ...]
    back: tuple[str, ...]


class Roster:
    """The workers that the scheduler knows, and the state of each.

    Args:
        required: The versions that they must have; None if they need not be queried.
    """

    def __init__(self, required: Requirements | None) -> None:
        self._required = required
        self._states: dict[str, WorkerState] = {}
        self._frozen: set[str] = set()
        self._queried: set[str] = set()
        self._measured_bytes: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._fit: set[str] = set()

    @property
    def queries(self) -> bool:
        """Whether workers are queried for their versions."""
        return self._required is not None

    def update(self, states: Iterable[WorkerState]) -> Changes:
        """Replace the states of all workers."""
        self._states = {state.address: state for state in states}
        frozen = {state.address for state in self._states.values() if state.silent_s > FROZEN_S}
        gone = self._queried - self._states.keys()
        self._queried -= gone
        self._fit -= gone
        for address in gone:
            self._problems.pop(address, None)
        new = tuple(
            address
            for address, state in self._states.items()
            if self._required and address not in self._queried and address not in frozen and state.status == "running"
        )
        self._queried.update(new)
        changes = Changes(
            new=new,
            frozen=tuple(sorted(frozen - self._frozen)),
            back=tuple(sorted((self._frozen - frozen) & self._states.keys())),
        )
        self._frozen = frozen
        return changes

    def answer(self, address: str, answer: Mapping[str, Any]) -> str | None:
        """Record a worker's answer to the query; returns why it gets no tasks, or None."""
        assert self._required is not None
        if "memory_bytes" in answer:
            self._measured_bytes[address] = answer["memory_bytes"]
        problem = _problem(answer, self._required)
        if problem is None:
            self._fit.add(address)
        else:
            self._problems[address] = problem
        return problem

    def drop(self, address: str) -> None:
        """Remove a worker that died; the next update adds it again if the scheduler still knows it."""
        self._states.pop(address, None)

    def query_again(self, address: str) -> None:
        """Query a worker once more at the next update, because it did not answer."""
        self._queried.discard(address)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that may get tasks now."""
        return tuple(self._usable())

    @property
    def known(self) -> frozenset[str]:
        """Addresses of all workers that answer, including those that get no tasks."""
        return frozenset(self._states.keys() - self._frozen)

    @property
    def why_none(self) -> str:
        """Why no worker may get tasks."""
        if not self._states:
            return "it has no workers"
        reasons = [f"{address}: {problem}" for address, problem in sorted(self._problems.items())]
        reasons += [f"{address} does not answer" for address in sorted(self._frozen)]
        others = len(self._states) - len(reasons)
        if not reasons:
            return f"none of its {others} workers is ready"
        more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        return f"none of its {len(self._states)} workers can run tasks; {reasons[0]}{more}"

    def _usable(self) -> Iterator[Worker]:
        ready = [
            state
            for state in self._states.values()
            if state.status == "running"
            and state.address not in self._frozen
            and (self._required is None or state.address in self._fit)
        ]
        for state in ready:
            if state.memory_bytes:
                yield Worker(state.address, state.threads, state.memory_bytes)
            elif state.address in self._measured_bytes:
                yield Worker(state.address, state.threads, self._share_bytes(state, ready))
            else:
                yield Worker(state.address, state.threads)

    def _share_bytes(self, state: WorkerState, ready: Sequence[WorkerState]) -> int:
        """Memory for a worker without a memory limit: its share of the memory that others on its machine leave free."""
        neighbours = [other for other in ready if other.host == state.host]
        stated_bytes = sum(other.memory_bytes for other in neighbours)
        free_bytes = max(0, round(self._measured_bytes[state.address] * MEMORY_SHARE) - stated_bytes)
        return free_bytes * state.threads // sum(other.threads for other in neighbours if not other.memory_bytes)


def _problem(answer: Mapping[str, Any], required: Requirements) -> str | None:
    if "missing" in answer:
        return f"it has no Python package {answer['missing']!r}; install headend there"
    if "problem" in answer:
        return f"headend can't be imported there ({answer['problem']}); install it again"
    if answer["headend"] != required.headend:
        return f"it has headend {answer['headend']}, and this is {required.headend}; install the same version there"
    if required.tool is not None and "tool_problem" in answer:
        return str(answer["tool_problem"])
    if required.tool is not None and answer["tool"] != required.tool:
        return (
            f"it has {answer['tool']!r}, and the plan was made with {required.tool!r}; install the same headend there"
        )
    return None
