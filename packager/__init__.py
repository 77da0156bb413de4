"""Packaging: turns encoded chunks into segments, and segments into a release that players can read.

It takes the encoder's fragmented MP4 files, then receipts. It writes CMAF segments, an HLS multivariant playlist with
its media and I-frame playlists, a DASH MPD, and the pointer that makes them current. Publishing moves no media: workers
have already stored the final segments. This package knows nothing of ladders, FFmpeg or Dask.
"""
