"""Reports: one HTML page with its pictures inside, ``report.json`` with every number, and Prometheus text.

Pure functions from `cdn_sim.results.Results` to text; the command writes the files.
"""
