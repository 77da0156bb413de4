"""Live edges: real caching HTTP servers between players and the origin, which decide as the simulation does.

Comes in: requests of players and of other edges. Goes out: segments, manifests and errors, and a decision log that
`headend replay` puts through the same policies offline. This package alone of `cdn_sim` may use sockets and aiohttp.
"""
