"""What a task will cost, in CPU seconds and memory, before it runs: from measured coefficients and past receipts.

Comes in: a picture, its renditions, a number of frames. Goes out: CPU seconds and bytes of one task. The coefficients
lie in ``costs.json`` beside this file, written by ``python -m benchmarks costs``. Each store keeps a `Calibration`
besides: by how much its own receipts were off.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from itertools import pairwise

from encoder.conforming import Cadence, Conformed
from headend import documents
from headend.media import AudioRendition, Codec, Effort, EncodePlan, Kind, Receipt, VideoRange, VideoRendition

SMOOTHING = 0.5
"""How much the newest release counts against all before: two odd titles in a row don't spoil a third."""
SAFE = 1.2
"""Memory that is set aside over what is expected: running out kills, and other pictures need other amounts."""
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Curve:
    """What an encoder at one effort takes, by size of the picture.

    Attributes:
        frame_s: CPU seconds for a frame of a million pixels.
        exponent: By which power of the size that grows: a little under 1, since small pictures hold more detail.
        megapixel_mb: Megabytes for a million pixels.
    """

    frame_s: float
    exponent: float
    megapixel_mb: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured coefficients. Those by ``megapixel`` are CPU seconds for a million pixels.

    Attributes:
        start_s: CPU seconds of a task that encodes next to nothing.
        start_mb: Megabytes that such a task takes.
        decode_megapixel_s: By FFmpeg's name of the master's codec.
        decode_other_s: Of a codec that is not among them.
        decode_megapixel_mb: Megabytes for a million pixels of the master: frames in the decoder and the cascade.
        scale_megapixel_s: Pixels that go in and pixels that come out count alike.
        tone_map_megapixel_s: To SDR, from each range that is none.
        deinterlace_megapixel_s: Per pixel of the master's frames.
        sound_s: CPU seconds for a second of one channel of sound.
        loudness_s: The same, to measure how loud it is.
        video: By codec and effort.
        memory_factor: By how much past receipts exceeded the expected memory.
    """

    start_s: float
    start_mb: float
    decode_megapixel_s: dict[str, float]
    decode_other_s: float
    decode_megapixel_mb: float
    scale_megapixel_s: float
    tone_map_megapixel_s: dict[VideoRange, float]
    deinterlace_megapixel_s: float
    sound_s: dict[Codec, float]
    loudness_s: float
    video: dict[Codec, dict[Effort, Curve]]
    memory_factor: float = 1.0

    def audio_s(self, renditions: Sequence[AudioRendition], duration_s: float) -> float:
        """CPU seconds of a task that encodes a programme of sound."""
        encode_s = sum(self.sound_s[rendition.codec] * rendition.channels for rendition in renditions)
        # Each layout is measured once, before all else.
        measure_s = self.loudness_s * sum({rendition.layout: rendition.channels for rendition in renditions}.values())
        return 2 * self.start_s + duration_s * (encode_s + measure_s)

    def audio_bytes(self) -> int:
        """Peak memory of such a task, with some to spare: its files are written as they grow."""
        return round(self.start_mb * SAFE * _MEGA)


@dataclass(frozen=True, slots=True)
class Pricing:
    """What any group of renditions of one title costs.

    Attributes:
        costs: The coefficients.
        picture: The master on the grid.
        effort: How much work the encoders do.
    """

    costs: Costs
    picture: Conformed
    effort: Effort

    def frame_s(self, rendition: VideoRendition) -> float:
        """CPU seconds that the encoder alone takes for one frame of the grid."""
        curve = self.costs.video[rendition.codec][self.effort]
        return curve.frame_s * math.pow(_megapixels(rendition), curve.exponent) / rendition.rate_divisor

    def video_s(self, renditions: Sequence[VideoRendition], frames: int) -> float:
        """CPU seconds of a task that encodes a chunk.

        Args:
            renditions: The group that it makes.
            frames: Frames of the chunk, of the grid.
        """
        encode_s = sum(self.frame_s(rendition) for rendition in renditions)
        return self.costs.start_s + frames * (encode_s + self._source_s() + self._scale_s(renditions))

    def video_bytes(self, renditions: Iterable[VideoRendition]) -> int:
        """Peak memory of such a task, with some to spare; frames don't matter, but for the shortest chunks."""
        curves = self.costs.video
        encoders_mb = sum(curves[r.codec][self.effort].megapixel_mb * _megapixels(r) for r in renditions)
        frames_mb = self.costs.decode_megapixel_mb * self._master_megapixels()
        megabytes = self.costs.start_mb + frames_mb + encoders_mb
        return round(megabytes * self.costs.memory_factor * SAFE * _MEGA)

    def _master_megapixels(self) -> float:
        return self.picture.track.width_px * self.picture.track.height_px / _MEGA

    def _source_s(self) -> float:
        """To decode what one frame of the grid is made from, and to put it on the grid."""
        track = self.picture.track
        each_s = self.costs.decode_megapixel_s.get(track.codec, self.costs.decode_other_s)
        if self.picture.cadence in (Cadence.INTERLACED, Cadence.TELECINE):
            each_s += self.costs.deinterlace_megapixel_s
        return each_s * self._master_megapixels() * track.frame_count / self.picture.frame_count

    def _scale_s(self, renditions: Iterable[VideoRendition]) -> float:
        """To bring one frame to all sizes, each from the nearest larger one."""
        tone_map_s = self.costs.tone_map_megapixel_s.get(self.picture.track.video_range, 0.0)
        sizes: dict[tuple[bool, int], set[float]] = {}
        for rendition in renditions:
            kind = (rendition.video_range is VideoRange.SDR, rendition.rate_divisor)
            sizes.setdefault(kind, set()).add(_megapixels(rendition))
        total_s = 0.0
        for (sdr, divisor), found in sizes.items():
            steps = [self._master_megapixels(), *sorted(found, reverse=True)]
            scaled = sum(larger + smaller for larger, smaller in pairwise(steps))
            total_s += scaled * self.costs.scale_megapixel_s / divisor
            total_s += steps[1] * tone_map_s / divisor if sdr else 0.0
        return total_s


@dataclass(frozen=True, slots=True)
class Calibration:
    """By how much the coefficients were off on the machines that fill one store.

    Attributes:
        video: Factor on CPU seconds, by codec and effort; 1 where nothing is known.
        memory: Factor on memory.
    """

    video: dict[Codec, dict[Effort, float]] = field(default_factory=dict)
    memory: float = 1.0

    def applied(self, costs: Costs) -> Costs:
        """The coefficients, corrected."""
        video = {
            codec: {
                effort: replace(curve, frame_s=curve.frame_s * self.video.get(codec, {}).get(effort, 1.0))
                for effort, curve in efforts.items()
            }
            for codec, efforts in costs.video.items()
        }
        return replace(costs, video=video, memory_factor=costs.memory_factor * self.memory)

    def learned(self, plan: EncodePlan, receipts: Iterable[Receipt]) -> "Calibration":
        """What is known after another release, from what its tasks were expected to take and what they took.

        A task's error is shared by its codecs in proportion to the renditions they have in it, so that groups of one
        codec tell most. Errors are averaged as ratios: half and double cancel out.

        Args:
            plan: With the costs that this calibration foretold.
            receipts: Of this plan's tasks; those that tell nothing, such as of sound, are left out.
        """
        codecs = {rendition.id: rendition.codec for rendition in plan.video}
        tasks = {task.id: task for task in plan.tasks if task.kind is Kind.VIDEO}
        weights: dict[Codec, float] = {}
        errors: dict[Codec, float] = {}
        memory = []
        for receipt in receipts:
            task = tasks.get(receipt.task)
            if task is None or not (receipt.cpu_s > 0 and task.cost > 0):
                continue
            ratio = math.log(receipt.cpu_s / task.cost)
            shared = [codecs[rendition] for rendition in task.renditions if rendition in codecs]
            for codec in shared:
                weight = task.cost / len(shared)
                weights[codec] = weights.get(codec, 0.0) + weight
                errors[codec] = errors.get(codec, 0.0) + weight * ratio
            if task.memory_bytes:
                memory.append(receipt.peak_memory_bytes * SAFE / task.memory_bytes)
        video = {codec: dict(known) for codec, known in self.video.items()}
        for codec, weight in weights.items():
            known = video.setdefault(codec, {})
            known[plan.effort] = known.get(plan.effort, 1.0) * math.exp(SMOOTHING * errors[codec] / weight)
        # Too little memory kills: it grows at once, and shrinks slowly.
        worst = max(memory, default=1.0)
        return Calibration(video, self.memory * (worst if worst > 1 else worst**SMOOTHING))


@cache
def measured() -> Costs:
    """The coefficients that came with the installation."""
    file = resources.files("encoder") / "costs.json"
    return documents.read(Costs, file.read_bytes(), key="encoder/costs.json")


def _megapixels(rendition: VideoRendition) -> float:
    return rendition.width_px * rendition.height_px / _MEGA
