"""CDN simulation: what the edge caches of internet providers do to an origin's load and to what viewers see.

Comes in: the presentations of a catalogue, a topology of caches and a workload of viewers. Goes out: hit ratios, origin
traffic and what each viewer met.
This room knows time as a number that it moves itself; it knows nothing of sockets, of storage or of encoding.
"""
