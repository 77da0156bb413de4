"""Reports: one self-contained HTML page, ``report.json`` with all numbers, and Prometheus text.

Pure functions from `cdn_sim.results.Results` to text; the command writes the files.
"""
