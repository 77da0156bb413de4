"""Subtitle formats, one module each: read bytes into cues with exact times.

Input: a sidecar, or a stream that FFmpeg has extracted. Output: cues in WebVTT's syntax, and the line numbers of blocks
that can't be read. It must not know programmes, FFmpeg's command line or segments.
"""
