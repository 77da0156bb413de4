"""Adapter for ffmpeg-python. No other module depends on the arguments, labels and escapes that it generates.

Input: ffmpeg-python's streams. Output: FFmpeg arguments, and filter graphs as text. It chooses no filters or options.
"""

import re
from dataclasses import dataclass
from typing import Any

import ffmpeg

_FIRST_PICTURE = "[0:v]"
"""ffmpeg-python's label for the picture of the first input."""
_GRAPH = "-filter_complex"
_LABEL = re.compile(r"\[s(\d+)\]")
"""ffmpeg-python numbers the streams of every graph from ``[s0]``."""


@dataclass(frozen=True, slots=True)
class Command:
    """The parts of a command, without the program.

    Attributes:
        inputs: Options and names of the inputs.
        graph: The value of ``-filter_complex``.
        outputs: Options and names of the outputs, with the labels that they map.
    """

    inputs: tuple[str, ...]
    graph: str
    outputs: tuple[str, ...]


def arguments(outputs: Any) -> tuple[str, ...]:
    """All arguments of a command, without the program; a filter's value that has "=" must be passed as ``args``."""
    # ffmpeg-python escapes "=" within values, but FFmpeg's filters don't unescape it: pan needs its matrix unescaped.
    return tuple(str(word).replace(r"\\=", "=") for word in ffmpeg.get_args(outputs))


def command(outputs: Any) -> Command:
    """Split a command, which must have a filter, into its parts."""
    words = arguments(outputs)
    option = words.index(_GRAPH)
    return Command(words[:option], words[option + 1], words[option + 2 :])


def chain(stream: Any) -> str:
    """A chain of filters as text, without labels, for use in another graph."""
    graph = command(ffmpeg.output(stream, "-")).graph
    return ",".join(re.sub(r"^\[[^\]]*\]|\[[^\]]*\]$", "", part) for part in graph.split(";"))


def relabelled(graph: str, name: str) -> str:
    """Prefix a graph's labels with a name, so that another graph can be appended."""
    return _LABEL.sub(rf"[{name}\1]", graph)


def last_label(graph: str) -> str:
    """The output label of a graph, in brackets."""
    return graph[graph.rindex("[") :]


def joined(first: str, second: str) -> str:
    """Join two graphs: the first one's output becomes the second one's input."""
    return f"{first};{second.replace(_FIRST_PICTURE, last_label(first), 1)}"


def copies(stream: Any, count: int, kind: str) -> list[Any]:
    """Copy a stream; ``kind`` is ``split`` for pictures and ``asplit`` for sound."""
    if count == 1:
        return [stream]
    split = stream.filter_multi_output(kind, count)
    return [split.stream(number) for number in range(count)]
