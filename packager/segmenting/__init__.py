"""Cuts the encoder's fragmented MP4 into CMAF segments.

In: a complete file of the encoder. Out: an init segment, media segments and their description for the receipt.
Samples are neither changed nor reordered; only the few bytes around them are rewritten.
"""
