"""Access control: signed playback tokens, leases on an account's screens, and the checks of a grant.

It takes the token from a request's path, the edge's signed statement, and facts about the title. It returns the grant,
or a refusal with its reason. The origin and the caches in front of it run the same checks; nothing here reads a store.

`tokens` has keys and signed texts, `leases` counts screens, `grants` checks a request against its token.
"""
