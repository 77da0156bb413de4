"""Jobs: what people asked for, as documents in the store, and the dispatcher that works through them.

Comes in: requests from ``submit --queue``, a list or a watched folder, and commands such as cancel. Goes out: jobs with
a history of states, events for webhooks, and titles made by `headend.app.pipeline`. Only the command line imports it.
"""
