"""Subtitle formats, one module each: read bytes into cues with exact times.

Input: a sidecar, or a stream that FFmpeg has extracted. Output: cues in WebVTT's syntax, and the blocks of a file that
are not cues. It must not know programmes, FFmpeg's command line or segments.
"""
