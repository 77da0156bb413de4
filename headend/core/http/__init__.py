"""HTTP servers on top of aiohttp's, for the origin and the edges.

An application maps each `Request` to a `Response`. The server sends it with correct preconditions and ranges, from
memory or with ``sendfile``, and limits connections, headers, slow readers and bytes in flight. This package knows
nothing of titles, stores or tokens.

`server` has the server and its limits, `connections` sends responses, `fast_path` recognizes simple requests,
`requests` checks requests, `conditions` evaluates preconditions and ranges, `responses` makes responses, `blobs` holds
bodies in files, `listening` and `workers` have sockets and processes, `access_log` and `cmcd` record requests.
"""
