"""Cache policies compiled over flat arrays: the same decisions as `cdn_sim.policies`, about fifty times faster.

Objects are numbered without gaps. A cache is a `State`: a row of links and a mark per object, and a few totals. Steps
take the arrays as separate arguments, because an object with arrays would halve the speed.
"""
