"""Bit rate ladders: the sizes and rates in which a title is offered.

Input: the name of a preset or a TOML file, and the probe of a master; for a per-title ladder, also its trial encodes.
Output: the renditions of the master, and the decisions that led to them. Everything here is computed, apart from
reading ladder files; nothing knows FFmpeg's command line, storage or Dask.
"""
