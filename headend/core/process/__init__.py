"""Runs programs as child processes that can't outlive their task.

Input: an argument list. Output: how the process ended, and the CPU time and memory that it used. Each child has its own
process group; it is killed if the task is cancelled or stalls, or if this process dies for any reason.
"""

from headend.core.process.cores import available_cores, processor
from headend.core.process.parent_death import killed_with_parent
from headend.core.process.running import Finished, Watch, run

__all__ = ["Finished", "Watch", "available_cores", "killed_with_parent", "processor", "run"]
