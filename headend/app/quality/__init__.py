"""Quality control: a release is measured against its master, judged by rules, and reported on, before it is published.

Comes in: a presentation, its master and a share of segments to measure. Goes out: a report with every finding, as data
and as a page. `checking` chooses segments, `scoring` measures them on workers, `judging` has the rules, `flooring`
lifts chunks while they are encoded, and `assessing` measures a release that is published already.
"""
