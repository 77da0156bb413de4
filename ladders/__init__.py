"""Ladders: the steps of size and rate that a title is offered in.

Comes in: the name of a preset or a TOML file, and what probing told of a master. Goes out: the renditions of that
master, with the decisions that led to them.
This room reads ladders and computes; it knows nothing of FFmpeg's command line, of storage or of Dask.
"""
