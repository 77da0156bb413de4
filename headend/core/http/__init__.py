"""HTTP serving on top of aiohttp's server, for the origin and for caches in front of it.

It takes HTTP/1.1 requests on listening sockets, and an application that maps a `Request` to a `Response`. It sends
responses with correct conditionals and ranges, from memory or by ``sendfile``, within limits on connections, headers,
slow readers and bytes in flight. It knows nothing of titles, stores or tokens.

`server` has the server and its limits, `connections` one connection and the sending of responses, `requests` checks of
requests, `conditions` preconditions and ranges, `responses` what is sent, `blobs` bodies behind a file descriptor,
`listening` and `workers` the sockets and processes, `access_log` and `cmcd` what is recorded.
"""
