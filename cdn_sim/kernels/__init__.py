"""Cache policies as compiled steps over flat arrays: the same decisions as `cdn_sim.policies`, some fifty times faster.

Objects have dense numbers. A cache is a `State`: per object a row of links and a mark, and a few totals. Steps take the
state's arrays one by one; an object that holds arrays would halve the speed.
"""
