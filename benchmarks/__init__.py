"""Benchmarks: what headend costs, measured on the machine at hand.

Comes in: a benchmark's name. Goes out: a table for people and a JSON document with the machine's facts.
``python -m benchmarks`` lists them.
"""
