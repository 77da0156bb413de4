"""Benchmarks: measure headend's cost on this machine.

Input: the name of a benchmark. Output: a table, and a JSON document that also describes the machine. ``python -m
benchmarks`` lists the benchmarks.
"""
