"""The style sheet of all HTML pages: palette, type, the bar at the top, panels."""

from pathlib import Path

THEME = Path(__file__).with_name("static") / "theme.css"
