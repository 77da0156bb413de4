"""Measure how fast this machine encodes, compared with the one that the cost coefficients were measured on.

Each codec encodes a short test picture a few times, on all cores at once as in a job. It takes about three seconds, and
the result is kept in the user's cache folder. So the first job of a new store is predicted for this machine.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from statistics import geometric_mean, mean

from encoder import tool
from encoder.costs import Calibration, measured
from encoder.encoding import QUIET
from encoder.families import Style
from headend.core import codecs, documents, user_cache
from headend.core.codecs import VideoCodec
from headend.core.errors import StorageError, ToolFailed
from headend.core.media import Codec, Colour, Effort, VideoRange, VideoRendition
from headend.core.process import Finished, Watch, available_cores, processor, run
from headend.core.timing import ceil_div

FRAMES, RATE = 32, 25
WIDTH_PX, HEIGHT_PX = 640, 360
PICTURE = f"testsrc2=size={WIDTH_PX}x{HEIGHT_PX}:rate={RATE},noise=alls=8:allf=t:all_seed=1"
"""A moving picture with noise, so that encoders have something to do."""
ROUNDS = 3
"""How often each codec encodes the picture. The least CPU time counts: other programs and machines only add to it."""
BUSY = 1.25
"""The machine is busy if encodes take longer than this times their CPU time, since they wait for others. Without
other work, it is 1.1 times; beside two busy processes on two cores, it is at least 1.4 times."""
DOUBTFUL_S = 3600
"""How long the result of a busy machine is kept."""
MAX_CONCURRENT = 16
COLOUR = Colour("bt709", "bt709", "bt709", "tv", "left")
WATCH = Watch(stall_s=60, deadline_s=60)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the test picture costs on this machine.

    Attributes:
        cpu_s: CPU seconds by codec, with all cores in use.
        busy: Whether other programs used the processor meanwhile.
    """

    cpu_s: Mapping[Codec, float]
    busy: bool


def calibration(on_measure: Callable[[], None] = lambda: None) -> Calibration:
    """The ratios of costs on this machine to the coefficients: measured once, then read from the user's cache folder.

    What is measured on a busy machine may be too high, so it is kept for an hour only.

    Args:
        on_measure: Called before a measurement.

    Returns:
        The ratios; empty if they can't be measured, since jobs don't depend on them.
    """
    with suppress(ToolFailed):
        name = f"speed-{_identity()}.json"
        doubtful = f"doubtful-{name}"
        with suppress(StorageError):  # damaged: measure again
            if kept := user_cache.read(name) or user_cache.read(doubtful, max_age_s=DOUBTFUL_S):
                return documents.read(Calibration, kept, key=name)
        on_measure()
        found = measure()
        ratios = compared(found.cpu_s)
        user_cache.write(doubtful if found.busy else name, documents.write(ratios))
        return ratios
    return Calibration()


def measure() -> Measurement:
    """Encode the test picture with each codec, on all cores at once.

    Raises:
        ToolFailed: An encode failed.
    """
    concurrent = min(available_cores(), MAX_CONCURRENT)
    kinds = [codec for codec in codecs.VIDEO if codec.costs_like is None]
    turns = kinds * ceil_div(concurrent, len(kinds))
    with ThreadPoolExecutor(concurrent) as pool:
        return judged([list(pool.map(_encode, turns)) for _ in range(ROUNDS)])


def judged(rounds: Sequence[Sequence[tuple[Codec, Finished]]]) -> Measurement:
    """What follows from the encodes of some rounds: of each codec, the round with the least CPU time."""

    def mean_s(encodes: Sequence[tuple[Codec, Finished]], codec: Codec) -> float:
        return mean(run.cpu_s for each, run in encodes if each is codec)

    return Measurement(
        cpu_s={codec: min(mean_s(encodes, codec) for encodes in rounds) for codec, _ in rounds[0]},
        busy=all(
            sum(run.wall_s for _, run in encodes) > BUSY * sum(run.cpu_s for _, run in encodes) for encodes in rounds
        ),
    )


def compared(cpu_s: Mapping[Codec, float]) -> Calibration:
    """The calibration that follows from `measure`: one factor for all costs.

    An encode of the test picture is off by up to a tenth on a shared machine, more than codecs differ, so all of them
    count equally.
    """
    reference_s = measured().test_picture_s
    ratios = [took / reference_s[codec] for codec, took in cpu_s.items() if codec in reference_s]
    factor = geometric_mean(ratios) if ratios else 1.0
    return Calibration(
        video={descriptor.codec: dict.fromkeys(Effort, factor) for descriptor in codecs.VIDEO},
        source=factor,
        from_jobs=False,
    )


def _encode(codec: VideoCodec) -> tuple[Codec, Finished]:
    return codec.codec, run(_command(codec), environment=QUIET, watch=WATCH)


def _command(codec: VideoCodec) -> list[str]:
    profile, bit_depth = codec.profiles[-1]
    rendition = VideoRendition(
        id="test",
        codec=codec.codec,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        frame_rate=Fraction(RATE),
        rate_divisor=1,
        average_bps=500_000,
        cap_bps=1_000_000,
        buffer_bits=2_000_000,
        crf=codec.trial_crfs[1],
        profile=profile,
        level=codec.levels[-1].name,
        pixel_format="yuv420p10le" if bit_depth == 10 else "yuv420p",
        video_range=VideoRange.SDR,
    )
    options = codec.options(rendition, Style(Effort.DRAFT, FRAMES, COLOUR))
    return [
        *(tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error"),
        *("-f", "lavfi", "-i", f"{PICTURE},format={rendition.pixel_format}", "-frames:v", str(FRAMES)),
        *(word for name, value in options.items() for word in (f"-{name}", str(value))),
        *("-threads", "1", "-f", "null", "-"),
    ]


def _identity() -> str:
    """A digest of all that the result depends on."""
    parts = (*_parts(), processor(), str(available_cores()), tool.digest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _parts() -> Iterator[str]:
    for codec in codecs.VIDEO:
        yield " ".join(_command(codec)[1:])
    yield str(sorted(measured().test_picture_s.items()))
