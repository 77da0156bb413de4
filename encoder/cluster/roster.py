"""Which workers of a cluster may get tasks, and why the others may not: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encoder.scheduling import Worker

FROZEN_S = 30.0
"""A worker that has not answered its scheduler for so long is taken for frozen, and its tasks go elsewhere."""
MEMORY_SHARE = 0.8
"""How much of a machine's memory tasks may take; the rest is for results on their way, and for others."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as its scheduler knows it.

    Attributes:
        address: Unique in a cluster.
        threads: How many tasks it runs at once.
        memory_bytes: Its ``--memory-limit``; 0 for none.
        status: Dask's name for its state.
        silent_s: How long ago it was last heard of.
        host: The machine.
    """

    address: str
    threads: int
    memory_bytes: int
    status: str
    silent_s: float
    host: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker must have.

    Attributes:
        headend: Version.
        tool: FFmpeg's version line; None for any.
    """

    headend: str
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look at the workers has shown.

    Attributes:
        new: Addresses of workers that are to be asked what they have.
        frozen: Addresses of workers that have just stopped answering.
        back: Addresses of workers that answer again.
    """

    new: tuple[str, ...]
    frozen: tuple[str, ...]
    back: tuple[str, ...]


class Roster:
    """Workers, and what is known of them.

    Args:
        wanted: What they must have; None if they need not be asked.
    """

    def __init__(self, wanted: Wanted | None) -> None:
        self._wanted = wanted
        self._seen: dict[str, WorkerState] = {}
        self._frozen: set[str] = set()
        self._asked: set[str] = set()
        self._measured_bytes: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._fit: set[str] = set()

    @property
    def asks(self) -> bool:
        """Whether workers are asked what they have."""
        return self._wanted is not None

    def see(self, seen: Iterable[WorkerState]) -> Changes:
        """Take in the scheduler's workers."""
        self._seen = {one.address: one for one in seen}
        frozen = {one.address for one in self._seen.values() if one.silent_s > FROZEN_S}
        gone = self._asked - self._seen.keys()
        self._asked -= gone
        self._fit -= gone
        for address in gone:
            self._problems.pop(address, None)
        new = tuple(
            address
            for address, one in self._seen.items()
            if self._wanted and address not in self._asked and address not in frozen and one.status == "running"
        )
        self._asked.update(new)
        changes = Changes(
            new=new,
            frozen=tuple(sorted(frozen - self._frozen)),
            back=tuple(sorted((self._frozen - frozen) & self._seen.keys())),
        )
        self._frozen = frozen
        return changes

    def answer(self, address: str, answer: Mapping[str, Any]) -> str | None:
        """Take in what a worker says it has; returns why it gets no tasks, or None."""
        assert self._wanted is not None
        if "memory_bytes" in answer:
            self._measured_bytes[address] = answer["memory_bytes"]
        problem = _problem(answer, self._wanted)
        if problem is None:
            self._fit.add(address)
        else:
            self._problems[address] = problem
        return problem

    def gone(self, address: str) -> None:
        """A worker has died; the next look tells whether its scheduler knows it again."""
        self._seen.pop(address, None)

    def unasked(self, address: str) -> None:
        """A worker could not be asked; it will be when it is seen again."""
        self._asked.discard(address)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Those that may get tasks now."""
        return tuple(self._usable())

    @property
    def known(self) -> frozenset[str]:
        """Addresses of all that the scheduler knows and that answer, fit or not."""
        return frozenset(self._seen.keys() - self._frozen)

    @property
    def why_none(self) -> str:
        """Why no worker may get tasks."""
        if not self._seen:
            return "it has no workers"
        reasons = [f"{address}: {problem}" for address, problem in sorted(self._problems.items())]
        reasons += [f"{address} does not answer" for address in sorted(self._frozen)]
        others = len(self._seen) - len(reasons)
        if not reasons:
            return f"none of its {others} workers is ready"
        more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        return f"none of its {len(self._seen)} workers can run tasks; {reasons[0]}{more}"

    def _usable(self) -> Iterator[Worker]:
        ready = [
            one
            for one in self._seen.values()
            if one.status == "running"
            and one.address not in self._frozen
            and (self._wanted is None or one.address in self._fit)
        ]
        for one in ready:
            if one.memory_bytes:
                yield Worker(one.address, one.threads, one.memory_bytes)
            elif one.address in self._measured_bytes:
                yield Worker(one.address, one.threads, self._share_bytes(one, ready))
            else:
                yield Worker(one.address, one.threads)

    def _share_bytes(self, one: WorkerState, ready: Sequence[WorkerState]) -> int:
        """The part of its machine's memory that belongs to a worker without a limit of its own."""
        neighbours = [other for other in ready if other.host == one.host]
        stated_bytes = sum(other.memory_bytes for other in neighbours)
        free_bytes = max(0, round(self._measured_bytes[one.address] * MEMORY_SHARE) - stated_bytes)
        return free_bytes * one.threads // sum(other.threads for other in neighbours if not other.memory_bytes)


def _problem(answer: Mapping[str, Any], wanted: Wanted) -> str | None:
    if "missing" in answer:
        return f"it has no Python package {answer['missing']!r}; install headend there"
    if "problem" in answer:
        return f"headend can't be imported there ({answer['problem']}); install it again"
    if answer["headend"] != wanted.headend:
        return f"it has headend {answer['headend']}, and this is {wanted.headend}; install the same version there"
    if wanted.tool is not None and "tool_problem" in answer:
        return str(answer["tool_problem"])
    if wanted.tool is not None and answer["tool"] != wanted.tool:
        return f"it has {answer['tool']!r}, and the plan was made with {wanted.tool!r}; install the same headend there"
    return None
