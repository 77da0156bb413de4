"""HLS and DASH manifests, written by pure functions.

The packager writes a release's manifests when it publishes; servers render manifests of selected tracks on request.
The input of both is a `ReleaseOutline`. This package reads no store and serves no requests.
"""
