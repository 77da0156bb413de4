"""Prometheus metrics of servers with several worker processes.

`primitives` has counters and histograms without locks, which are updated from one event loop, and writes Prometheus'
text format. `workers` merges the metrics of all worker processes, so that any worker can serve them.
"""

from headend.core.metrics.primitives import Counter, Histogram, Registry

__all__ = ["Counter", "Histogram", "Registry"]
