"""HLS and DASH manifests, written by pure functions.

Publishing writes a release's manifests with them; servers render manifests of parts of a release with them.
"""
