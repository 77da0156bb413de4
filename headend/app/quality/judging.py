"""Judges a release: applies the quality rules to its report, and says how to fix what fails. Pure."""

from collections.abc import Iterable

from headend.app.quality.rules import RULES, faults
from headend.core.media.quality_reports import QualityReport, Severity, Shortfall

LOOKS = frozenset({"best rendition", "worst segment", "order"})
"""Shortfalls that a wrong picture causes as well."""


def judge(report: QualityReport) -> tuple[Shortfall, ...]:
    """Apply all rules to a report.

    Args:
        report: The measurements; shortfalls that it already has are ignored.

    Returns:
        The shortfalls: failures, then remarks, then notes, each in the order of the rules.
    """
    found = [shortfall for rule in RULES for shortfall in rule.check(report)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda shortfall: order.index(shortfall.severity)))


def rules_broken(shortfalls: Iterable[Shortfall]) -> tuple[str, ...]:
    """Return the names of the rules that have failures, in order."""
    return tuple(dict.fromkeys(shortfall.rule for shortfall in shortfalls if shortfall.severity is Severity.FAILURE))


def remedy_of(shortfall: Shortfall, report: QualityReport) -> str:
    """Return how to fix a failure, in one line; empty for remarks and notes."""
    if shortfall.severity is not Severity.FAILURE:
        return ""
    of = {name.strip(): rule for rule in RULES for name in rule.name.split(",")}
    wrong = {failure.rendition for failure in report.failures if of[failure.rule] is faults.RULE}
    if shortfall.rule in LOOKS and shortfall.rendition in wrong:
        return "the rendition shows a wrong picture, see above"
    return of[shortfall.rule].remedy
