"""The queue of jobs in the store, and the dispatcher that runs them.

Input: requests from ``submit --queue``, lists and watched folders, and commands such as cancel. Output: titles, made by
`headend.app.pipeline`, job histories, and events for webhooks. Only the command line imports it.
"""
