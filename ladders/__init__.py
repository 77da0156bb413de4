"""Ladders: the sizes and rates in which a title is offered.

It takes the name of a preset or a TOML file, and the result of probing a master. It returns the master's renditions,
with the decisions behind them. This package reads ladders and computes; it knows nothing of FFmpeg's command line,
storage or Dask.
"""
