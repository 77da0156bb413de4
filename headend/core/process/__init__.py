"""Runs programs as child processes that can't outlive their task.

It takes an argument list. It returns how the process ended and what it cost. Each child has its own process group; it
is killed if the task is cancelled or stalls, or if this process dies for any reason.
"""

from headend.core.process.cores import available_cores, processor
from headend.core.process.leash import leashed
from headend.core.process.running import Finished, Watch, run

__all__ = ["Finished", "Watch", "available_cores", "leashed", "processor", "run"]
