"""The quality report on a release as one HTML page: no script, no network, small enough for an e-mail. Pure.

Input: a report and pictures of the worst segments. Output: HTML with charts in SVG. It imports neither the encoder nor
the packager.
"""

from headend.app.quality.report.page import lifts_text, render, sentence
from headend.app.quality.report.shown import Shown

__all__ = ["Shown", "lifts_text", "render", "sentence"]
