"""The only place that knows how ffmpeg-python writes a command: its words, its labels and its escapes.

Comes in: ffmpeg-python's streams. Goes out: FFmpeg arguments and filter graphs as text. Filters and options are decided
elsewhere.
"""

import re
from dataclasses import dataclass
from typing import Any

import ffmpeg

_GRAPH = "-filter_complex"
_LABEL = re.compile(r"\[s(\d+)\]")
"""ffmpeg-python numbers the streams of every graph from ``[s0]``."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command without the program, by its parts.

    Attributes:
        inputs: Options and names of the inputs.
        graph: What ``-filter_complex`` gets.
        outputs: Options and names of the outputs, with the labels that they map.
    """

    inputs: tuple[str, ...]
    graph: str
    outputs: tuple[str, ...]


def arguments(outputs: Any) -> tuple[str, ...]:
    """All arguments of a command, without the program; a filter whose value has "=" takes it as ``args``."""
    # ffmpeg-python escapes "=" within values for a parser that no filter has: pan takes its matrix as it stands.
    return tuple(str(word).replace(r"\\=", "=") for word in ffmpeg.get_args(outputs))


def command(outputs: Any) -> Command:
    """A command by its parts; it must have a filter."""
    words = arguments(outputs)
    at = words.index(_GRAPH)
    return Command(words[:at], words[at + 1], words[at + 2 :])


def chain(stream: Any) -> str:
    """A chain of filters as text, without labels, to stand inside another graph."""
    graph = command(ffmpeg.output(stream, "-")).graph
    return ",".join(re.sub(r"^\[[^\]]*\]|\[[^\]]*\]$", "", part) for part in graph.split(";"))


def relabelled(graph: str, name: str) -> str:
    """A graph whose labels start with a name of their own, so that another graph can stand behind it."""
    return _LABEL.sub(rf"[{name}\1]", graph)


def last_label(graph: str) -> str:
    """The label that a graph ends in, with its brackets."""
    return graph[graph.rindex("[") :]


def joined(first: str, second: str, placeholder: str) -> str:
    """Two graphs as one: the second one's input, which has the placeholder's name, is what the first one ends in."""
    return f"{first};{second.replace(placeholder, last_label(first), 1)}"


def copies(stream: Any, count: int, kind: str) -> list[Any]:
    """A stream as often as it is used; ``kind`` is ``split`` for pictures and ``asplit`` for sound."""
    if count == 1:
        return [stream]
    fan = stream.filter_multi_output(kind, count)
    return [fan.stream(number) for number in range(count)]
