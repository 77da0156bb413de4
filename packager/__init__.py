"""Packaging: cuts encoded chunks into segments, and publishes them as HLS and DASH.

Workers use it to cut the encoder's fragmented MP4 files into CMAF segments, encrypted if required. The process that
runs the job then merges receipts into tracks, writes playlists and MPDs, and sets the pointer to the current release;
no media is moved. It also verifies and decrypts releases, and collects garbage. It knows nothing of ladders, FFmpeg or
Dask.
"""
