"""Ask a scheduler and its workers what they have installed: they may lack headend, or have another version.

Functions here travel by value: each imports what it needs inside, and uses nothing else of this module.
"""

from typing import Any


def describe_workers(dask_scheduler: Any) -> list[tuple[str, int, int, str, float, str]]:
    """On the scheduler: its workers' addresses, threads, memory limits, statuses, seconds of silence, and hosts."""
    from time import time

    return [
        (w.address, w.nthreads, int(w.memory_limit or 0), w.status.name, time() - w.last_seen, w.host)
        for w in dask_scheduler.workers.values()
    ]


def report_deaths(dask_scheduler: Any) -> None:
    """On the scheduler: hand each worker's death to the client; its own count would repeat tasks unseen."""
    dask_scheduler.allowed_failures = 0


def describe_self(modules: tuple[str, ...]) -> dict[str, Any]:
    """On a worker: its version of headend and of FFmpeg, its memory in bytes, or why it can't run tasks.

    Args:
        modules: What tasks import.
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
    except Exception as error:
        return {**answer, "problem": f"{type(error).__name__}: {error}"}
    try:
        answer["tool"] = import_module("encoder.tool").version()
    except Exception as error:
        answer["tool_problem"] = str(error)
    return answer
