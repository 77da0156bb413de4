"""Prometheus metrics: counters and histograms without locks, and one exposition for several processes.

It takes events counted on one event loop, and provides Prometheus' text format. `primitives` has the counters,
`workers` merges the expositions of all worker processes.
"""

from headend.core.metrics.primitives import Counter, Histogram, Registry

__all__ = ["Counter", "Histogram", "Registry"]
