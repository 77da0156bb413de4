"""The quality rules for a release, one file each. Pure: a rule takes a report and finds its shortfalls.

Each rule has a limit beyond which a release fails, and a stricter one beyond which it gets a remark. Scores of HDR
renditions are only compared with each other: no public model predicts how HDR looks, so no rule has a limit for them.
"""

from headend.app.quality.rules import best, coverage, faults, hdr, order, peak, predicted, sound

RULES = (faults.RULE, best.RULE, hdr.RULE, order.RULE, peak.RULE, predicted.RULE, sound.RULE, coverage.RULE)
"""All rules, in reporting order: a wrong picture comes before its consequences."""
