"""Access control for playback: signed tokens, and a limit of simultaneous screens per account.

Input: the token in a request's path, an edge's signed statement, and facts about the title. Output: the grant, or a
refusal with its reason. The origin and the edges run the same checks; nothing here reads a store.

`tokens` has keys and signed texts, `leases` counts screens, `grants` checks a request against its token.
"""
