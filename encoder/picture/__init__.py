"""Picture: the colour of a master's samples, and of the samples of its renditions.

Comes in: the picture as it was probed. Goes out: colours with nothing left open, filters that change them as data, and
a line of the plan for each decision. It must not import planning.
"""
