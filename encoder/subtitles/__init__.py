"""Subtitle formats: one file for each, from its bytes to cues with exact times.

Comes in: a sidecar, or what FFmpeg has left of a stream. Goes out: cues in WebVTT's syntax, and how many blocks of a
file are no cues. Nothing here knows of programmes, FFmpeg's command line or segments.
"""
