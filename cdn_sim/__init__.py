"""CDN simulation: what the edge caches of internet providers do to an origin's load and to what viewers see.

Comes in: a scenario (catalogue, viewers, networks, caches) or a log of requests. Goes out: hit ratios, traffic, stalls
and costs, as a report, and plans that say what an edge is to hold.
Simulated time is a number that this package advances itself. The package opens no socket and must not import the other
rooms; only the log readers and the report writer touch files, and only those that the caller names.
"""
