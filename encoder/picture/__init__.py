"""The colour of a master and of its renditions.

Input: a probed picture. Output: complete colours, filters that convert them, as data, and a line of the plan for each
decision. It must not import planning.
"""
