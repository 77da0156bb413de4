"""The dispatcher over HTTP: a JSON API, server-sent events, metrics, and a page for operators.

Comes in: requests, and a `headend.app.jobs.console.view.View` of the dispatcher. Goes out: documents as
`openapi.document` describes them. It serves loopback only, unless tokens say who may read and who may operate.
"""
