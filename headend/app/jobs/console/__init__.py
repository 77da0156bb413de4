"""The dispatcher over HTTP: a JSON API, server-sent events, metrics, and a page for operators.

It reads the queue and a `headend.app.jobs.console.view.View` of the dispatcher, and answers with the documents that
`openapi.document` describes. It serves loopback only, unless there are tokens with rights to read and to operate.
"""
