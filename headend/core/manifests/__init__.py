"""Manifests of HLS and DASH, written by pure functions.

Publishing writes a release's manifests with them, and servers render the manifests of a part of a release.
"""
