"""Measure how fast this machine encodes, compared with the one that the cost coefficients were measured on.

Each codec encodes a short test picture, on all cores at once as in a job. It takes a second or two, and the result is
kept in the user's cache folder. So the first job of a new store is predicted for this machine.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
from headend.core.process import Watch, available_cores, processor, run

FRAMES, RATE = 96, 25
WIDTH_PX, HEIGHT_PX = 640, 360
PICTURE = f"testsrc2=size={WIDTH_PX}x{HEIGHT_PX}:rate={RATE},noise=alls=8:allf=t:all_seed=1"
"""A moving picture with noise, so that encoders have something to do."""
MAX_AT_ONCE = 16
COLOUR = Colour("bt709", "bt709", "bt709", "tv", "left")
WATCH = Watch(stall_s=60, deadline_s=60)


def calibration(on_measure: Callable[[], None] = lambda: None) -> Calibration:
    """The ratios of costs on this machine to the coefficients: measured once, then read from the user's cache folder.

    Args:
        on_measure: Called before a measurement.

    Returns:
        The ratios; empty if they can't be measured, since jobs don't depend on them.
    """
    with suppress(ToolFailed):
        name = f"speed-{_identity()}.json"
        with suppress(StorageError):  # damaged: measure again
            if kept := user_cache.read(name):
                return documents.read(Calibration, kept, key=name)
        on_measure()
        found = compared(seconds())
        user_cache.write(name, documents.write(found))
        return found
    return Calibration()


def seconds() -> dict[Codec, float]:
    """CPU seconds of each codec for the test picture, with all cores in use.

    Raises:
        ToolFailed: An encode failed.
    """
    at_once = min(available_cores(), MAX_AT_ONCE)
    kinds = [codec for codec in codecs.VIDEO if codec.costs_like is None]
    turns = kinds * -(-at_once // len(kinds))
    with ThreadPoolExecutor(at_once) as pool:
        took = list(pool.map(_encode_s, turns))
    return {kind.codec: mean(s for turn, s in zip(turns, took, strict=True) if turn is kind) for kind in kinds}


def compared(took_s: Mapping[Codec, float]) -> Calibration:
    """The calibration that follows from `seconds`: one factor for all costs.

    A single encode of the test picture is off by a fifth on a shared machine, more than codecs differ, so all of them
    count equally.
    """
    reference_s = measured().test_picture_s
    ratios = [took / reference_s[codec] for codec, took in took_s.items() if codec in reference_s]
    factor = geometric_mean(ratios) if ratios else 1.0
    return Calibration(
        video={one.codec: dict.fromkeys(Effort, factor) for one in codecs.VIDEO}, source=factor, from_jobs=False
    )


def _encode_s(codec: VideoCodec) -> float:
    return run(_command(codec), environment=QUIET, watch=WATCH).cpu_s


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
