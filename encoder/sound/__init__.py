"""Encode sound: map a master's channels to those of a rendition, and set the level.

Input: programmes with named channels. Output: matrices, filters and commands as data. It must not import planning.
"""
