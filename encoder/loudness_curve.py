"""The loudness of an encoded audio rendition over time.

Source: ITU-R BS.1770-4; EBU Tech 3341 (short-term loudness: over three seconds).
"""

import re
from collections.abc import Callable
from pathlib import Path

from encoder import tool
from headend.core.process import Watch, run

MOST_POINTS = 600
"""A plot can't show more."""
SILENT_LUFS = -70.0
_POINT = re.compile(r"lavfi\.r128\.S=(-?\d+(?:\.\d+)?|-?inf|nan)")


def measure(path: Path, cancelled: Callable[[], bool] = lambda: False) -> tuple[float | None, ...]:
    """Measure the short-term loudness of a file at even intervals.

    Args:
        path: The file.
        cancelled: Returns True once this must stop.

    Returns:
        Loudness in LUFS; None for silence.

    Raises:
        ToolFailed: FFmpeg failed.
    """
    values: list[float] = []

    def on_line(line: str) -> None:
        if found := _POINT.search(line):
            value = float(found[1])
            values.append(value if value > SILENT_LUFS else SILENT_LUFS)

    run(
        (
            tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", "-i", str(path),
            "-af", "ebur128=metadata=1,ametadata=mode=print:key=lavfi.r128.S:file=-", "-f", "null", "-",
        ),
        cancelled=cancelled,
        on_line=on_line,
        watch=Watch(),
    )  # fmt: skip
    step = max(1, -(-len(values) // MOST_POINTS))
    parts = [values[place : place + step] for place in range(0, len(values), step)]
    return tuple(None if max(part) <= SILENT_LUFS else round(max(part), 1) for part in parts)
