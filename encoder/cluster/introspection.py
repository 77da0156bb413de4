"""Functions that run on the scheduler and on workers, which may lack headend or have another version.

They are pickled by value, so each function imports what it needs, and uses nothing else of this module.
"""

from typing import Any


def describe_workers(dask_scheduler: Any) -> tuple[str, list[tuple[str, int, int, str, float, str]]]:
    """Run on the scheduler; return its id and the state of each worker.

    Returns:
        The scheduler's id, which changes when it is started again. For each worker: address, threads, memory limit,
        status, seconds since its last message, host.
    """
    from time import time

    return dask_scheduler.id, [
        (w.address, w.nthreads, int(w.memory_limit or 0), w.status.name, time() - w.last_seen, w.host)
        for w in dask_scheduler.workers.values()
    ]


def report_deaths(dask_scheduler: Any) -> str:
    """Run on the scheduler; make it report a worker's death instead of retrying the task, and return its id."""
    dask_scheduler.allowed_failures = 0
    return str(dask_scheduler.id)


def describe_self(modules: tuple[str, ...]) -> dict[str, Any]:
    """Run on a worker; return its versions of headend and FFmpeg and its memory in bytes, or why it can't run tasks.

    Args:
        modules: Modules that tasks import.
    """
    from importlib import import_module

    answer: dict[str, Any] = {}
    try:
        answer["memory_bytes"] = import_module("distributed.system").memory_limit()
        answer["headend"] = import_module("headend").__version__
        for module in modules:
            import_module(module)
    except ModuleNotFoundError as error:
        return {**answer, "missing": error.name or str(error)}
    except Exception as error:  # importing a module may raise anything
        return {**answer, "problem": f"{type(error).__name__}: {error}"}
    try:
        answer["tool"] = import_module("encoder.tool").version()
    except Exception as error:  # whatever is wrong, this worker can't encode
        answer["tool_problem"] = str(error)
    return answer
