"""Measure renditions with VMAF: one decode of the master for many renditions.

Input: a master, renditions of it, and a screen. Output: a score from 0 to 100 for each measured frame. Both pictures
are scaled to the size of the screen and compared at 10 bits. Frames are paired by their numbers. VMAF gets all frames,
even if only some are scored, since it needs the previous frame to judge motion.

Source:
    FFmpeg's documentation, section "libvmaf"; Netflix, "VMAF v1", 2026.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import filter_graphs, small_pictures, tool
from encoder.encoding import QUIET
from encoder.small_pictures import SmallPictures
from headend.core.errors import Cancelled, ConfigError, ToolFailed
from headend.core.media.quality import Viewing
from headend.core.process import Finished, Watch, run
from headend.core.storage.masters import redact
from headend.core.timing import ceil_div

MAX_RENDITIONS = 8
"""Maximum number of renditions measured at once: each takes 190 MB on a screen of 1080 lines."""
STALL_S = 600
"""How long FFmpeg may make no progress: VMAF of 2160 lines takes seconds for a frame."""
MIN_ENCODED_PX = (320, 180)
"""Smallest encoded size for CAMBI, VMAF's banding detector: it rejects sizes below 180x150 and fails close to them."""
_COUNTED = "settb=1/1000,setpts=N"
"""Filters that replace the times of frames by their numbers, since frames are paired by number."""
_NO_MODEL, _NO_FILTER = "could not load libvmaf model", "No such filter: 'libvmaf'"


@dataclass(frozen=True, slots=True)
class Picture:
    """A sequence of frames to compare.

    Attributes:
        parts: FFmpeg's input options of each file, in order of time; at least one.
        filters: Filters to apply to each frame first, such as a rotation.
        graph: A graph that makes the frames from the only file, instead of concatenating files. Only for the first
            picture of a command: it uses input 0. It ends in a label.
        skipped: Frames to decode and drop before the first compared one.
        step: Keep one frame in N; applies before ``skipped``.
    """

    parts: tuple[tuple[str, ...], ...]
    filters: str = "null"
    graph: str = ""
    skipped: int = 0
    step: int = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A rendition to measure.

    Attributes:
        picture: Its frames.
        width_px: Encoded width; VMAF looks for banding at the encoded size.
        height_px: Encoded height.
        bit_depth: Bits of its samples.
        divisor: The rendition has one in N frames of the master; only those are compared.
    """

    picture: Picture
    width_px: int
    height_px: int
    bit_depth: int = 8
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a measurement, and its cost.

    Attributes:
        scores: For each rendition, the score of each measured frame, in order.
        frames: Numbers of the measured frames, from 0. For a rendition with a divisor, they count its own frames, and
            those past its end are not measured.
        cpu_s: CPU seconds.
        small: If requested, small pictures of the master and of each rendition.
    """

    scores: tuple[tuple[float, ...], ...]
    frames: tuple[int, ...]
    cpu_s: float
    small: tuple[SmallPictures, ...] = ()


def file_picture(*paths: Path) -> Picture:
    """The frames of consecutive files."""
    return Picture(tuple(("-i", str(path)) for path in paths))


def raw_picture(path: Path, size_px: tuple[int, int], pixel_format: str) -> Picture:
    """The frames of a raw video file."""
    size = f"{size_px[0]}x{size_px[1]}"
    return Picture((("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", size, "-i", str(path)),))


def spacing(gop_frames: int) -> int:
    """Distance from one measured frame to the next if not all are measured.

    Returns:
        The smallest odd number from 3 that has no common divisor with the GOP's length. With other numbers, the same
        positions of each GOP would be measured, and these may be better or worse than the mean.
    """
    return next(n for n in range(3, 2 * gop_frames + 5, 2) if gcd(n, gop_frames) == 1)


def measure(
    master: Picture,
    renditions: Sequence[Shown],
    viewing: Viewing,
    frames: int,
    *,
    shown_px: tuple[int, int] | None = None,
    every: int = 1,
    threads: int = 1,
    small: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    on_frames: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Score renditions against their master.

    Args:
        master: Their master, with the same number of frames.
        renditions: At least one and at most `MAX_RENDITIONS`.
        viewing: The screen.
        frames: Number of frames.
        shown_px: Width and height of the picture on the screen, to match renditions that are measured separately; None
            for the size at which the largest of these fills the screen.
        every: Distance from one measured frame to the next, see `spacing`.
        threads: Threads of each comparison.
        small: Whether to make small pictures, too.
        cancelled: Returns True once this must stop.
        on_frames: Called about twice a second with the number of frames done.

    Raises:
        ConfigError: FFmpeg does not have the model.
        ToolFailed: FFmpeg failed, or a rendition is shorter than its master.
        Cancelled: ``cancelled`` returned True.
    """
    if not 1 <= len(renditions) <= MAX_RENDITIONS:
        raise ValueError(f"{len(renditions)} renditions can't be measured at once")
    if cancelled():
        # A short film would be finished before the next check.
        raise Cancelled("measuring was cancelled")

    def on_line(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "frame" and value.strip().isdigit():
            on_frames(int(value))

    with TemporaryDirectory(prefix="headend-") as name:
        logs = [Path(name) / f"{number}.json" for number in range(len(renditions))]
        files = [
            (Path(name) / f"{number}.pictures", Path(name) / f"{number}.blocks")
            for number in range(1 + len(renditions) if small else 0)
        ]
        argv = command(
            master, renditions, viewing, frames, logs, files, shown_px=shown_px, every=every, threads=threads
        )
        finished = _run(argv, viewing, cancelled, on_line)
        scores = tuple(_scores(log) for log in logs)
        pictures = tuple(small_pictures.read(*pair) for pair in files)
    for shown, frame_scores in zip(renditions, scores, strict=True):
        wanted = _measured_count(frames, shown.divisor, every)
        if len(frame_scores) != wanted:
            raise ToolFailed(
                f"VMAF scored {len(frame_scores)} frames instead of {wanted}: rendition and master differ in length"
            )
    for divisor, measured_pictures in zip((1, *(shown.divisor for shown in renditions)), pictures, strict=False):
        _check_count(len(measured_pictures.luma), _measured_count(frames, divisor, every))
        _check_count(len(measured_pictures.blocks), _measured_count(frames, divisor, 1))
    return Measured(scores, tuple(range(0, frames, every)), finished.cpu_s, pictures)


def _check_count(rendition_frames: int, wanted: int) -> None:
    if rendition_frames != wanted:
        raise ToolFailed(f"FFmpeg made {rendition_frames} small pictures instead of {wanted}")


def _run(
    argv: Sequence[str], viewing: Viewing, cancelled: Callable[[], bool], on_line: Callable[[str], None]
) -> Finished:
    try:
        return run(
            [tool.ffmpeg_path(), *argv],
            cancelled=cancelled,
            on_line=on_line,
            watch=Watch(stall_s=STALL_S),
            environment=QUIET,
        )
    except ToolFailed as error:
        stderr = redact(error.facts.get("stderr", ""))
        if _NO_MODEL in stderr or _NO_FILTER in stderr:
            raise ConfigError(
                f"this FFmpeg has no VMAF model {viewing.model}; unset HEADEND_FFMPEG to use the FFmpeg that is "
                "installed with headend"
            ) from None
        raise ToolFailed(redact(error.message), **{**error.facts, "stderr": stderr}) from None


def check_model(viewing: Viewing) -> None:
    """Check that FFmpeg has the VMAF model of a screen, to find out before hours of encoding.

    Raises:
        ConfigError: FFmpeg does not have it.
        ToolFailed: FFmpeg does not run.
    """
    frame = Picture((("-f", "lavfi", "-i", "color=s=320x180:r=25:d=0.04"),))
    measure(frame, [Shown(frame, 320, 180)], Viewing(viewing.name, viewing.model, 320, 180), 1)


def command(
    master: Picture,
    renditions: Sequence[Shown],
    viewing: Viewing,
    frames: int,
    logs: Sequence[Path],
    small: Sequence[tuple[Path, Path]] = (),
    *,
    shown_px: tuple[int, int] | None = None,
    every: int,
    threads: int,
) -> tuple[str, ...]:
    """Build the command of `measure`.

    Args:
        master: As for `measure`, like the next three.
        renditions: The renditions.
        viewing: The screen.
        frames: Number of frames.
        logs: A file for each rendition's scores.
        small: Files for the small pictures of the master and of each rendition; empty for none.
        shown_px: Size on the screen.
        every: Distance from one measured frame to the next.
        threads: Threads of each comparison.

    Returns:
        FFmpeg's arguments, without the program.
    """
    pictures = [master, *(shown.picture for shown in renditions)]
    inputs = [word for picture in pictures for part in picture.parts for word in part]
    # VMAF needs one size for all; renditions of the same aspect ratio differ by rounding.
    width_px, height_px = shown_px or viewing.fitted(*max((s.width_px, s.height_px) for s in renditions))
    screen = f"scale={width_px}:{height_px}:flags=bicubic,setsar=1,format=yuv420p10le"
    graph: list[str] = []
    outputs: list[str] = []
    first_input = 0
    for number, picture in enumerate(pictures):
        count = frames if number == 0 else ceil_div(frames, renditions[number - 1].divisor)
        label = f"[shown{number}]"
        graph.append(f"{_compared_frames(picture, first_input, count, graph)},{_COUNTED},{screen}{label}")
        first_input += len(picture.parts)
        if small:
            graph.append(f"{label}split=2[kept{number}][small{number}]")
            chains, labels = small_pictures.filters(f"[small{number}]", every, f"of{number}")
            graph += chains
            for small_label, path in zip(labels, small[number], strict=True):
                outputs += ["-map", small_label, "-f", "rawvideo", "-fps_mode", "passthrough", str(path)]
            label = f"[kept{number}]"
        if number == 0:
            graph.append(f"{label}split={len(renditions)}" + "".join(f"[m{n}]" for n in range(len(renditions))))
        else:
            graph.append(f"{label}null[r{number - 1}]")
    for number, (shown, log) in enumerate(zip(renditions, logs, strict=True)):
        reference = f"[m{number}]"
        if shown.divisor > 1:
            graph.append(f"{reference}framestep={shown.divisor},{_COUNTED}[stepped{number}]")
            reference = f"[stepped{number}]"
        graph.append(f"[r{number}]{reference}{_vmaf_filter(shown, viewing, every, threads, log)}[v{number}]")
        outputs += ["-map", f"[v{number}]", "-f", "null", "-"]
    return (
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "error", "-progress", "pipe:1", "-stats_period", "0.5"),
        *("-filter_complex_threads", str(threads)),
        *inputs,
        *("-filter_complex", ";".join(graph)),
        *outputs,
    )


def _compared_frames(picture: Picture, first_input: int, count: int, graph: list[str]) -> str:
    """The chain of filters that selects the frames to compare; adds the picture's own graph, if it has one."""
    if picture.graph:
        graph.append(picture.graph)
        source = filter_graphs.last_label(picture.graph)
    else:
        parts = "".join(f"[{first_input + number}:v]" for number in range(len(picture.parts)))
        source = f"{parts}concat=n={len(picture.parts)},"
    # Drop frames first: filters and scaling cost more than decoding.
    trim = f"trim=start_frame={picture.skipped}:end_frame={picture.skipped + count}"
    selection = trim if picture.step == 1 else f"framestep={picture.step},{trim}"
    return f"{source}{selection},{picture.filters}"


def _vmaf_filter(shown: Shown, viewing: Viewing, every: int, threads: int, log: Path) -> str:
    model = ":".join(
        (
            f"version={viewing.model}",
            f"cambi.enc_width={max(shown.width_px, MIN_ENCODED_PX[0])}",
            f"cambi.enc_height={max(shown.height_px, MIN_ENCODED_PX[1])}",
            f"cambi.enc_bitdepth={shown.bit_depth}",
        )
    ).replace(":", "\\:")
    options = f"n_threads={threads}:n_subsample={every}:shortest=1:log_fmt=json:log_path={log}"
    return f"libvmaf=model='{model}':{options}"


def _measured_count(frames: int, divisor: int, every: int) -> int:
    """Number of measured frames of a rendition."""
    return len(range(0, len(range(0, frames, divisor)), every))


def _scores(log: Path) -> tuple[float, ...]:
    frames = json.loads(log.read_text())["frames"] if log.exists() else []
    return tuple(float(frame["metrics"]["vmaf"]) for frame in frames)
