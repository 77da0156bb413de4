"""The style sheet that every page of headend links to: palette, type, the bar at the top, panels."""

from pathlib import Path

THEME = Path(__file__).with_name("static") / "theme.css"
