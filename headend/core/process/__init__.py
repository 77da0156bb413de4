"""Run a program as a child that can't outlive its task.

Comes in: an argument list. Goes out: how it ended and what it cost.
The child gets a process group of its own, is killed when it is cancelled, stalls or when this process dies in any way.
"""

from headend.core.process.cores import available_cores
from headend.core.process.leash import leashed
from headend.core.process.running import Finished, Watch, run

__all__ = ["Finished", "Watch", "available_cores", "leashed", "run"]
