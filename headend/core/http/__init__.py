"""HTTP serving for anything that stands on aiohttp's server: the origin, and caches in front of it.

Comes in: HTTP/1.1 requests on listening sockets, and an application that maps a `Request` to a `Response`. Goes out:
responses with correct conditionals and ranges, sent from memory or by ``sendfile``, within limits on connections,
headers, slow readers and bytes in flight. It knows nothing of titles, stores or tokens.

`server` has the server and its limits, `connections` one connection and how responses are sent, `requests` what a
request may look like, `conditions` preconditions and ranges, `responses` what is sent, `blobs` bodies behind a file
descriptor, `listening` and `workers` the sockets and processes, `access_log` and `cmcd` what is recorded.
"""
