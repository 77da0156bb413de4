"""Plan how sound is encoded: mix a master's channels to those of renditions, and set the level.

Input: programmes with named channels. Output: matrices, filters and commands as data, and the tasks that run them. It
must not import planning.
"""
