"""Packaging: finished chunks become segments, segments become a release that players can read.

Comes in: the encoder's fragmented MP4 files, then receipts. Goes out: CMAF segments, an HLS multivariant playlist with
its media and I-frame playlists, a DASH MPD, and the pointer that makes them current.
No media bytes move at publishing: workers have stored the final segments already.
This room knows nothing of ladders, of FFmpeg or of Dask.
"""
