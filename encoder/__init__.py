"""Probe a master, split it into chunks, and encode each chunk once into a group of renditions.

Input: a master and the renditions that a ladder fits to it. Output: a probe, a plan of tasks, and for each finished
task its fragmented MP4 files and a receipt.
This package uses FFmpeg, PyAV and Dask. It must not know ladder presets, manifests or HTTP serving.
"""
