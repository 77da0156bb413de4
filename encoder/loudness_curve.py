"""The loudness of an encoded audio rendition over time.

Source: ITU-R BS.1770-4; EBU Tech 3341 (short-term loudness: over three seconds; momentary: over 0.4).
"""

import re
from collections.abc import Callable
from pathlib import Path

from encoder import tool
from headend.core.process import Watch, run
from headend.core.timing import ceil_div

MAX_POINTS = 600
"""Maximum number of points; a plot can't show more."""
SILENT_LUFS = -70.0
WINDOW_POINTS = 30
"""Points of the filter until the first three seconds have passed: one each 100 ms."""
_PRINTED = "ametadata=mode=print:key=lavfi.r128.{}:file=-"
_POINT = re.compile(r"lavfi\.r128\.([MS])=(-?\d+(?:\.\d+)?|-?inf|nan)")


def measure(path: Path, cancelled: Callable[[], bool] = lambda: False) -> tuple[float | None, ...]:
    """Measure the short-term loudness of a file at even intervals.

    In the first three seconds, where there is none yet, it is the momentary loudness.

    Args:
        path: The file.
        cancelled: Returns True once this must stop.

    Returns:
        The highest loudness in each interval, in LUFS; None for silence.

    Raises:
        ToolFailed: FFmpeg failed.
    """
    momentary: list[float] = []
    short_term: list[float] = []

    def on_line(line: str) -> None:
        if found := _POINT.search(line):
            value = float(found[2])
            values = momentary if found[1] == "M" else short_term
            values.append(value if value > SILENT_LUFS else SILENT_LUFS)

    run(
        (
            tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", "-i", str(path),
            "-af", f"ebur128=metadata=1,{_PRINTED.format('M')},{_PRINTED.format('S')}", "-f", "null", "-",
        ),
        cancelled=cancelled,
        on_line=on_line,
        watch=Watch(),
    )  # fmt: skip
    values = [*momentary[:WINDOW_POINTS], *short_term[WINDOW_POINTS:]]
    step = max(1, ceil_div(len(values), MAX_POINTS))
    intervals = [values[start : start + step] for start in range(0, len(values), step)]
    return tuple(None if max(part) <= SILENT_LUFS else round(max(part), 1) for part in intervals)
