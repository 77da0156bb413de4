"""Cuts the encoder's fragmented MP4 into CMAF segments.

Input: a complete file of the encoder. Output: an init segment, media segments and their description for the receipt.
Samples are neither changed nor reordered; only the few bytes around them are rewritten.
"""
