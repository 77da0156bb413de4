"""Encodes a master without a cluster: runs every task of its plan in this process, one after the other."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from encoder import encoding
from headend.app.deciding import inspect, plan_for
from headend.app.request import Request
from headend.core.media import Codec, Effort, EncodePlan, Kind
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from ladders.ladder import Ladder
from ladders.loading import load
from tests.support.playback import frame_number, frames, sound

RATE_HZ = 48_000


@dataclass(frozen=True, slots=True)
class Delivered:
    """A master's largest H.264 rendition, and its first AAC one.

    Attributes:
        plan: The plan.
        numbers: The number in each picture; None if it can't be read.
        samples: The sound, channels × samples; empty if there is none.
    """

    plan: EncodePlan
    numbers: tuple[int | None, ...]
    samples: np.ndarray

    @property
    def rate(self) -> Fraction:
        return self.plan.grid.frame_rate

    @property
    def beeps_s(self) -> list[float]:
        """Start of each beep, in seconds."""
        loud = np.abs(self.samples[0])
        heard = np.flatnonzero(loud > loud.max() / 4)
        begins = np.diff(heard, prepend=-(10**6)) > RATE_HZ // 50
        return [float(sample) / RATE_HZ for sample in heard[begins]]

    def shown_s(self, number: int) -> float:
        """Time at which a picture is first shown, in seconds."""
        return float(self.numbers.index(number) / self.rate)

    def decided(self, pattern: str) -> bool:
        """Return whether a line of the plan matches."""
        return any(re.search(pattern, line) for line in self.plan.decisions)


def smallest_ladder() -> Ladder:
    """Return one rung of H.264, and stereo AAC."""
    smoke = load("smoke")
    return replace(
        smoke,
        video=tuple(rung for rung in smoke.video if rung.codec is Codec.AVC and rung.height_px == 180),
        audio=tuple(rung for rung in smoke.audio if rung.codec is Codec.AAC and rung.layout == "2.0"),
    )


def planned(master: Path, settings: EncodeSettings | None = None) -> EncodePlan:
    """Plan a master with segments and chunks of a second."""
    settings = settings or EncodeSettings()
    settings = replace(settings, segment_s=Fraction(1), chunk_s=Fraction(1), effort=Effort.DRAFT, thumbnails=False)
    store = StoreSettings(str(master.parent / "store"))
    request = Request(str(master), "film", smallest_ladder(), store, ClusterSettings(workers=1), settings)
    return plan_for(request, inspect(str(master), store))


def deliver(
    master: Path,
    scratch: Path,
    settings: EncodeSettings | None = None,
    *,
    number_of: Callable[[av.VideoFrame], int | None] = frame_number,
) -> Delivered:
    """Encode a master into one rendition of picture and one of sound, and read both."""
    plan = planned(master, settings)
    scratch.mkdir(exist_ok=True)
    numbers: list[int | None] = []
    samples = np.zeros((0, 0))
    for task in sorted(plan.tasks, key=lambda task: task.chunk.number):
        encoding.encode(
            task, input_url=str(master), scratch=scratch, cancelled=lambda: False, on_frames=lambda _frames: None
        )
        data = encoding.output(scratch, task.renditions[0]).read_bytes()
        if task.kind is Kind.VIDEO:
            read_numbers = [number_of(frame) for frame in frames(data)]
            assert len(read_numbers) == task.chunk.frame_count
            numbers += read_numbers
        elif task.kind is Kind.AUDIO:
            samples = sound(data)
    return Delivered(plan, tuple(numbers), samples)
