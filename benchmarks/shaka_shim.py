"""A wrapper of FFmpeg for shaka-streamer, so that it encodes with the same options as the other methods.

``python -I shaka_shim.py OPTIONS.json FFMPEG ARG ...``: shaka-streamer has no settings for presets, rate control or
threads. The wrapper replaces the encoder options of each video output by those for ``codec:height`` in the JSON file;
mapping, scaling, fragmenting and piping stay unchanged.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

KEPT = {"-map": 2, "-an": 1, "-f": 2, "-movflags": 2, "-frag_duration": 2, "-vf": 2}
"""Options of an output that are kept, with their number of words."""


def replaced(words: list[str], options: dict[str, list[str]]) -> Iterator[str]:
    """Rewrite one output, from its ``-map`` to its path."""
    codec = words[words.index("-c:v") + 1]
    height = words[words.index("-vf") + 1].partition("scale=-2:")[2].partition(",")[0]
    place = 0
    while place < len(words) - 1:
        length = KEPT.get(words[place], 0)
        yield from words[place : place + length]
        place += length or 2
    yield from options[f"{codec}:{height}"]
    yield words[-1]


def rewrite(argv: list[str], options: dict[str, list[str]]) -> list[str]:
    """Rewrite a whole command; commands without video outputs, such as ``-version``, stay unchanged."""
    starts = [index for index, word in enumerate(argv) if word == "-map"]
    if not starts:
        return argv
    outputs = [argv[start:end] for start, end in zip(starts, [*starts[1:], len(argv)], strict=True)]
    return [*argv[: starts[0]], *(word for out in outputs for word in replaced(out, options))]


if __name__ == "__main__":
    table = json.loads(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], [sys.argv[2], *rewrite(sys.argv[3:], table)])
