"""Analyse the timelines of a master's streams, and handle gaps, overlaps, drift and changes of format.

Input: times and sizes of packets, read by `encoder.probing`. Output: spans of continuous time, gaps, overlaps and
drift; a line of the plan for each decision, or an error that states the time. It must not import probing or planning.
"""
