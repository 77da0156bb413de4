"""Access control: signed playback tokens, leases on an account's screens, and the checks of a grant.

Comes in: the token of a request's path, what an edge vouches for, and facts of the title. Goes out: the grant, or a
refusal with its reason. The same checks serve the origin and caches in front of it; nothing here reads a store.

`tokens` has keys and signed texts, `leases` counts screens, `grants` checks a request against its token.
"""
