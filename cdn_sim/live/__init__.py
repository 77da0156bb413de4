"""Live edges: caching HTTP servers between players and the origin that use the simulation's cache policies.

Input: requests from players and other edges. Output: segments, manifests and errors, and a decision log that `headend
replay` verifies offline. Only this package of `cdn_sim` may use sockets and aiohttp.
"""
