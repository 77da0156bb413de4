"""Sound: which channels of a master become which channels of a rendition, and at which level.

Comes in: programmes with named channels. Goes out: matrices and filters as data. It must not import planning.
"""
