"""Benchmarks: measure headend's cost on this machine.

In: the name of a benchmark. Out: a table, and a JSON document that also describes the machine. ``python -m benchmarks``
lists the benchmarks.
"""
