"""Timelines: how the time of each stream of a master runs, and what is done where it doesn't run evenly.

Comes in: times and sizes of packets, as `encoder.probing` reads them. Goes out: spans of continuous time, gaps,
overlaps and drift; a line of the plan for each decision, or an error that names the place. It must not import probing
or planning.
"""
