"""The common style sheet of all HTML pages: colours, fonts, the bar at the top, panels."""

from pathlib import Path

THEME = Path(__file__).with_name("static") / "theme.css"
