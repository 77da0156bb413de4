"""Quality control: a release is compared with its master and checked against rules before it is published.

Input: a presentation, the master, and how much to measure. Output: a report, as data and as a page. `checking` chooses
segments, `scoring` measures them on workers, `judging` has the rules, `flooring` encodes bad chunks again during
encoding, and `assessing` measures a release that is published already.
"""
