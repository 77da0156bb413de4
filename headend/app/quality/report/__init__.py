"""The report on a release's quality as one page: no script, no network, small enough for a mail. Pure.

Comes in: a report, and pictures of its worst segments. Goes out: HTML with its charts in SVG. It must not import rooms.
"""

from headend.app.quality.report.page import lifts_text, render, sentence
from headend.app.quality.report.shown import Shown

__all__ = ["Shown", "lifts_text", "render", "sentence"]
