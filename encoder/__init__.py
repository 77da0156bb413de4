"""Encoding: a master is probed, cut into chunks, and each chunk is encoded once into a group of renditions.

Comes in: a master and the renditions that a ladder fits to it. Goes out: a probe, a plan of tasks, and for each task
that has run its fragmented MP4 files and a receipt.
This room knows FFmpeg, PyAV and Dask; it knows nothing of ladders' presets, of manifests or of HTTP serving.
"""
