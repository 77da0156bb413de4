"""Derive commands from a task's command: its first pass, and re-encodes of segments above their cap. Pure.

A task's command contains all options of its encoders. So a worker can encode a segment of a rendition again without the
plan: it uses the same graph for the same frames, drops the other outputs, and changes the options that control the
rate.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath

from encoder.command import MUXING, pass_log
from encoder.families import FINER, TIGHTER
from headend.core.rates import Bound

MIN_CRF = 1.0
"""Lowest constant rate factor: 0 makes some encoders lossless, which their profiles forbid."""
PASS = "pass"
"""FFmpeg's option for two-pass encoders."""
SECOND = "2"
FIRST_PASS = {PASS: "1", "f": "null"}
RATES = ("maxrate", "bufsize")
"""Options of the rate cap."""
BLUR_FROM_ATTEMPT = 3
"""From this attempt on, the picture is blurred, because even the encoder's coarsest quantizer needs too many bits."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a command.

    Attributes:
        label: The output label of the graph that it encodes, in brackets.
        options: Its options by name, without the dash, in order.
        path: The file that it writes.
    """

    label: str
    options: Mapping[str, str | int | float]
    path: str

    @property
    def id(self) -> str:
        """The rendition's id, which names the file."""
        return PurePosixPath(self.path).stem

    def arguments(self) -> Iterator[str]:
        """FFmpeg's arguments."""
        yield from ("-map", self.label)
        for name, value in self.options.items():
            yield from (f"-{name}", str(value))
        yield self.path


@dataclass(frozen=True, slots=True)
class Reencode:
    """A segment of a rendition to encode again with fewer bits.

    Attributes:
        rendition: The rendition's id.
        first_frame: First frame of the segment, counted in the rendition's frames from the start of the chunk.
        end_frame: End of the segment, exclusive.
        factors: Ratio of cap to rate of each earlier encode, the oldest first; at least one.
        share: Ratio of the segment's duration to that of its frames at the nominal rate, above 0 and up to 1. It is
            less than 1 at the end of a title whose last frame is cut short.
    """

    rendition: str
    first_frame: int
    end_frame: int
    factors: tuple[Fraction, ...]
    share: Fraction = Fraction(1)

    @property
    def attempt(self) -> int:
        """Number of this re-encode of the segment, from 1."""
        return len(self.factors)


@dataclass(frozen=True, slots=True)
class _Command:
    opening: tuple[str, ...]
    graph: str
    outputs: tuple[Output, ...]

    def arguments(self) -> tuple[str, ...]:
        return *self.opening, self.graph, *(word for output in self.outputs for word in output.arguments())


def bounds(argv: Sequence[str], segment_s: Fraction) -> dict[str, Bound]:
    """Read the rate caps of renditions from a task's command.

    Args:
        argv: The command.
        segment_s: Nominal length of a segment.

    Returns:
        The cap of each rendition that has one, by its id.
    """
    return {
        output.id: Bound(int(output.options["maxrate"]), int(output.options["bufsize"]), segment_s)
        for output in _parse(argv).outputs
        if "maxrate" in output.options
    }


def outputs(argv: Sequence[str]) -> tuple[Output, ...]:
    """Read the outputs of a task's command, in order."""
    return _parse(argv).outputs


def first_pass(argv: Sequence[str]) -> tuple[str, ...]:
    """Derive the first-pass command of a task's command.

    Returns:
        The command; empty if no output has two passes.
    """
    if f"-{PASS}" not in argv:
        return ()
    command = _parse(argv)
    wanted = [output for output in command.outputs if output.options.get(PASS) == SECOND]
    analysed = [
        Output(o.label, {name: value for name, value in o.options.items() if name not in MUXING} | FIRST_PASS, "-")
        for o in wanted
    ]
    return _Command(command.opening, _graph_for(command, {o.label for o in wanted}), tuple(analysed)).arguments()


def reencode(argv: Sequence[str], segments: Iterable[Reencode]) -> tuple[str, ...]:
    """Derive the command that encodes single segments again.

    Args:
        argv: The task's command.
        segments: At most one of each rendition: a second one would double the encoder's memory.

    Returns:
        The command. It writes each segment to the path of its rendition, as a separate file with times from 0.
    """
    command = _parse(argv)
    by_id = {output.id: output for output in command.outputs}
    graph = _graph_for(command, {by_id[segment.rendition].label for segment in segments})
    chosen = []
    for number, segment in enumerate(segments):
        output = by_id[segment.rendition]
        label = f"[again{number}]"
        steps = [f"trim=start_frame={segment.first_frame}:end_frame={segment.end_frame}", "setpts=PTS-STARTPTS"]
        factors = segment.factors
        if segment.attempt >= BLUR_FROM_ATTEMPT:
            steps.append(f"gblur=sigma={2 ** (segment.attempt - BLUR_FROM_ATTEMPT)}")
            factors = factors[:1]  # later ones depend on the quantizer's limit, not on the segment
        graph += f";{output.label}{','.join(steps)}{label}"
        caps = {name: int(segment.share * int(output.options[name])) for name in RATES}
        changed = TIGHTER[str(output.options["c:v"])]({**output.options, **caps}, factors)
        chosen.append(Output(label, {**changed, **pass_log(output.id, changed)}, output.path))
    # Two-pass outputs come first, as in the task's command: see `encoder.command.pass_log`.
    return _Command(
        command.opening, graph, tuple(sorted(chosen, key=lambda output: PASS not in output.options))
    ).arguments()


def encode_finer(argv: Sequence[str], renditions: Collection[str]) -> tuple[str, ...]:
    """Derive the command that encodes some renditions of a task again with a lower constant rate factor.

    Args:
        argv: The task's command.
        renditions: Their ids.
    """
    command = _parse(argv)
    chosen = [output for output in command.outputs if output.id in renditions]
    finer = [
        Output(
            output.label,
            {
                **output.options,
                "crf": max(MIN_CRF, float(output.options["crf"]) - FINER[str(output.options["c:v"])]),
            },
            output.path,
        )
        for output in chosen
    ]
    return _Command(command.opening, _graph_for(command, {output.label for output in chosen}), tuple(finer)).arguments()


def _graph_for(command: _Command, labels: set[str]) -> str:
    """The graph for an encode of these labels only: all others end in a null sink."""
    sinks = "".join(f";{output.label}nullsink" for output in command.outputs if output.label not in labels)
    return command.graph + sinks


def _parse(argv: Sequence[str]) -> _Command:
    """Parse a task's command; each option of an output has a value."""
    at = list(argv).index("-filter_complex") + 1
    parsed = []
    words = iter(argv[at + 1 :])
    for word in words:
        label = next(words)
        options: dict[str, str] = {}
        assert word == "-map", word
        for name in words:
            if not name.startswith("-") or name == "-":
                parsed.append(Output(label, options, name))
                break
            options[name.removeprefix("-")] = next(words)
    return _Command(tuple(argv[:at]), argv[at], tuple(parsed))
