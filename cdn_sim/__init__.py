"""CDN simulation: how edge caches at internet providers change the origin's load and the viewers' experience.

In: a scenario (catalogue, viewers, networks, caches) or a log of requests. Out: hit ratios, traffic, stalls and costs
as a report, and fill plans for edges.

Simulations use no real clock and open no sockets, and only the log readers and the report writer touch files; live edge
caches are in `cdn_sim.live`. This package must not import the packages beside it.
"""
