"""Predict the CPU seconds and memory of a task from measured coefficients and past receipts.

Input: a picture, its renditions, a number of frames. Output: CPU seconds and bytes of one task. The coefficients are in
``costs.json`` beside this file, written by ``python -m benchmarks costs``. Each store also keeps a `Calibration`: the
ratios of measured to predicted costs in its own receipts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from itertools import pairwise

import numpy as np

from encoder.conforming import Cadence, Conformed
from encoder.scaling import halvings, start_of
from headend.core import documents
from headend.core.codecs import AUDIO, VIDEO
from headend.core.media import AudioRendition, Codec, Effort, EncodePlan, Kind, Receipt, VideoRange, VideoRendition

SMOOTHING = 0.5
"""Weight of the newest release against all earlier ones, so that two odd titles don't spoil the next prediction."""
MAX_FACTOR = 8.0
"""Largest factor by which a machine may be faster or slower than the one that was measured."""
_PULL = 0.01
"""Strength of the regularization of factors that the tasks don't determine."""
SAFE = 1.2
"""Ratio of reserved to expected memory: a worker that runs out is killed, and the need varies between pictures."""
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Curve:
    """Cost of an encoder at one effort, as a function of the picture's size.

    Attributes:
        frame_s: CPU seconds for a frame of a million pixels.
        exponent: Exponent of the size: a little under 1, since small pictures have more detail per pixel.
        megapixel_mb: Megabytes for a million pixels.
        crf: The constant rate factor at which ``frame_s`` was measured.
        crf_growth: Natural logarithm of the ratio by which one step of that factor changes ``frame_s``: negative, since
            coarser pictures have fewer coefficients to code.
    """

    frame_s: float
    exponent: float
    megapixel_mb: float
    crf: float = 0.0
    crf_growth: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured coefficients. Those named ``megapixel_s`` are CPU seconds for a million pixels.

    Attributes:
        start_s: CPU seconds of a task that encodes almost nothing.
        start_mb: Megabytes of such a task.
        decode_megapixel_s: Decoding, by FFmpeg's name of the master's codec.
        decode_other_s: Decoding any other codec.
        decode_megapixel_mb: Megabytes for a million pixels of the master: frames in the decoder and the cascade.
        scale_megapixel_s: Scaling, for the sum of input and output pixels.
        tone_map_megapixel_s: Tone mapping to SDR, by the HDR range it starts from.
        deinterlace_megapixel_s: Deinterlacing, for pixels of the master's frames.
        sound_s: Encoding one channel of sound, CPU seconds for a second.
        loudness_s: Measuring the loudness of one channel, CPU seconds for a second.
        video: Encoding pictures, by codec and effort.
        memory_factor: Ratio of measured to expected memory in past receipts.
        test_picture_s: CPU seconds of each codec for the test picture of `encoder.speed`, on the same machine.
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
    test_picture_s: dict[Codec, float] = field(default_factory=dict)

    def audio_s(self, renditions: Sequence[AudioRendition], duration_s: float) -> float:
        """CPU seconds of a task that encodes a programme of sound."""
        encode_s = sum(self.sound_s[rendition.codec] * rendition.channels for rendition in renditions)
        # Each layout is measured once, before encoding.
        measure_s = self.loudness_s * sum({rendition.layout: rendition.channels for rendition in renditions}.values())
        return 2 * self.start_s + duration_s * (encode_s + measure_s)

    def audio_bytes(self) -> int:
        """Memory to reserve for such a task; independent of its length, since files are written as they grow."""
        return round(self.start_mb * SAFE * _MEGA)


@dataclass(frozen=True, slots=True)
class Pricing:
    """The cost of any group of renditions of one title.

    Attributes:
        costs: The coefficients.
        picture: The master on the grid.
        effort: How much work the encoders do.
    """

    costs: Costs
    picture: Conformed
    effort: Effort

    def frame_s(self, rendition: VideoRendition) -> float:
        """CPU seconds of the encoder alone for one frame of the grid."""
        return _frame_s(self.costs.video[rendition.codec][self.effort], rendition)

    def video_s(self, renditions: Sequence[VideoRendition], frames: int) -> float:
        """CPU seconds of a task that encodes a chunk.

        Args:
            renditions: The group that the task encodes.
            frames: Frames of the chunk on the grid.
        """
        encode_s = sum(self.frame_s(rendition) for rendition in renditions)
        return self.costs.start_s + frames * (encode_s + self._source_s() + self._scale_s(renditions))

    def video_bytes(self, renditions: Iterable[VideoRendition]) -> int:
        """Memory to reserve for such a task; it depends on the number of frames only for very short chunks."""
        curves = self.costs.video
        encoders_mb = sum(curves[r.codec][self.effort].megapixel_mb * _megapixels(r) for r in renditions)
        frames_mb = self.costs.decode_megapixel_mb * self._master_megapixels()
        megabytes = self.costs.start_mb + frames_mb + encoders_mb
        return round(megabytes * self.costs.memory_factor * SAFE * _MEGA)

    def _master_megapixels(self) -> float:
        return self.picture.track.width_px * self.picture.track.height_px / _MEGA

    def _source_s(self) -> float:
        """CPU seconds to decode the source of one frame of the grid and to put it on the grid."""
        track = self.picture.track
        each_s = self.costs.decode_megapixel_s.get(track.codec, self.costs.decode_other_s)
        if self.picture.cadence in (Cadence.INTERLACED, Cadence.TELECINE):
            each_s += self.costs.deinterlace_megapixel_s
        return each_s * self._master_megapixels() * track.frame_count / self.picture.frame_count

    def _scale_s(self, renditions: Iterable[VideoRendition]) -> float:
        """CPU seconds to scale one frame to all sizes, each from the smallest half of the master that is enough."""
        tone_map_s = self.costs.tone_map_megapixel_s.get(self.picture.track.video_range, 0.0)
        kept = self.picture.kept
        upright = self.picture.track.rotation_deg not in (90, 270)
        master = (kept.width_px, kept.height_px) if upright else (kept.height_px, kept.width_px)
        halves = halvings(master)
        by_divisor: dict[int, set[tuple[bool, tuple[int, int]]]] = {}
        for r in renditions:
            kind = (r.video_range is VideoRange.SDR, (r.width_px, r.height_px))
            by_divisor.setdefault(r.rate_divisor, set()).add(kind)
        total_s = 0.0
        for divisor, sizes in by_divisor.items():
            starts = {size: start_of(master, size) for _, size in sizes}
            deepest = max(halves.index(start) for start in starts.values())
            scaled = sum(_area(larger) + _area(smaller) for larger, smaller in pairwise(halves[: deepest + 1]))
            scaled += sum(_area(starts[size]) + _area(size) for _, size in sizes if starts[size] != size)
            mapped = sum(_area(start) for start in {starts[size] for sdr, size in sizes if sdr})
            total_s += (scaled * self.costs.scale_megapixel_s + mapped * tone_map_s) / divisor
        return total_s


def _area(size: tuple[int, int]) -> float:
    return size[0] * size[1] / _MEGA


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ratios of measured to predicted costs on the machines that encode for one store.

    Attributes:
        video: Factor on the CPU seconds of encoders, by codec and effort; 1 if unknown.
        memory: Factor on memory.
        source: Factor on all other CPU seconds: starting, decoding, scaling.
        from_jobs: Whether it follows from jobs; false if only a test picture was encoded on this machine.
    """

    video: dict[Codec, dict[Effort, float]] = field(default_factory=dict)
    memory: float = 1.0
    source: float = 1.0
    from_jobs: bool = True

    def applied(self, costs: Costs) -> Costs:
        """The coefficients, corrected."""
        video = {
            codec: {
                effort: replace(curve, frame_s=curve.frame_s * self.video.get(codec, {}).get(effort, 1.0))
                for effort, curve in efforts.items()
            }
            for codec, efforts in costs.video.items()
        }
        return replace(
            costs,
            video=video,
            memory_factor=costs.memory_factor * self.memory,
            start_s=costs.start_s * self.source,
            decode_megapixel_s={codec: each_s * self.source for codec, each_s in costs.decode_megapixel_s.items()},
            decode_other_s=costs.decode_other_s * self.source,
            scale_megapixel_s=costs.scale_megapixel_s * self.source,
            tone_map_megapixel_s={kind: each_s * self.source for kind, each_s in costs.tone_map_megapixel_s.items()},
            deinterlace_megapixel_s=costs.deinterlace_megapixel_s * self.source,
        )

    def learned(self, plan: EncodePlan, receipts: Iterable[Receipt], costs: Costs | None = None) -> "Calibration":
        """Update the calibration with the expected and measured costs of another release.

        The CPU seconds of a task are the sum of each codec's encoders and of everything else. Least squares over all
        tasks gives a factor for each of these, regularized towards 1 where the tasks don't determine it. So an error
        in the cost of decoding is not attributed to an encoder, and repeated jobs converge to their measured costs.

        Args:
            plan: The plan, with the costs that this calibration predicted.
            receipts: Receipts of its tasks; those without picture are ignored.
            costs: The coefficients without any calibration; None for the installed ones.
        """
        curves = self.applied(costs or measured()).video
        renditions = {rendition.id: rendition for rendition in (*plan.video, *plan.trick)}
        tasks = {task.id: task for task in plan.tasks if task.kind is Kind.VIDEO}
        codecs = sorted({rendition.codec for rendition in plan.video})
        rows, took, memory = [], [], []
        for receipt in receipts:
            task = tasks.get(receipt.task)
            if task is None or not (receipt.cpu_s > 0 and task.cost > 0):
                continue
            parts = dict.fromkeys(codecs, 0.0)
            for id in task.renditions:
                if (known_rendition := renditions.get(id)) is not None and known_rendition.codec in parts:
                    parts[known_rendition.codec] += task.chunk.frame_count * _frame_s(
                        curves[known_rendition.codec][plan.effort], known_rendition
                    )
            encoders_s = min(sum(parts.values()), task.cost)
            rows.append([task.cost - encoders_s, *parts.values()])
            took.append(receipt.cpu_s)
            if task.memory_bytes and receipt.peak_memory_bytes:
                memory.append(receipt.peak_memory_bytes * SAFE / task.memory_bytes)
        common, (source, *factors) = _factors(rows, took) if rows else (1.0, [1.0])
        is_first = not (self.video and self.from_jobs)
        video = {
            codec: {e: _clamped(f * common) if is_first else f for e, f in known.items()}
            for codec, known in self.video.items()
        }
        for codec, factor in zip(codecs, factors, strict=False):
            before = self.video.get(codec, {}).get(plan.effort)
            step = _step(factor, common, first=is_first or before is None)
            video.setdefault(codec, {})[plan.effort] = _clamped((before or 1.0) * step)
        # Too little memory gets workers killed: increase it at once, reduce it slowly.
        worst = max(memory, default=1.0)
        return Calibration(
            # Sorted, so that the document does not depend on the order of releases.
            {codec: dict(sorted(efforts.items())) for codec, efforts in sorted(video.items())},
            _clamped(self.memory * (worst if worst > 1 else worst**SMOOTHING)),
            _clamped(self.source * _step(source, common, first=is_first)),
        )


def _step(factor: float, common: float, *, first: bool) -> float:
    """The correction of a factor after a release.

    The coefficients were measured on another machine, so the first release sets the common speed at once. The
    differences between parts are less certain, and are smoothed.
    """
    return common * math.pow(factor / common, SMOOTHING) if first else math.pow(factor, SMOOTHING)


def _factors(rows: Sequence[Sequence[float]], took_s: Sequence[float]) -> tuple[float, list[float]]:
    """Fit factors on the parts of tasks, from 1/2 to 2, to the measured costs.

    Args:
        rows: For each task, the expected CPU seconds of its parts.
        took_s: The measured CPU seconds of each.

    Returns:
        The common factor of all parts, and the factor of each part.
    """
    parts = np.array(rows)
    whole_s = parts.sum(axis=1)
    # Fit relative errors, since a second matters less in a long task; but long tasks have more weight.
    weight = np.sqrt(whole_s / whole_s.sum()) / whole_s
    # Pull all factors towards a common one, so that parts that the tasks don't separate share the error.
    common = float(np.clip(np.sum(took_s) / whole_s.sum(), 0.5, 2.0))
    count = parts.shape[1]
    matrix = np.vstack([parts * weight[:, None], np.eye(count) * _PULL])
    target = np.concatenate([np.array(took_s) * weight, np.full(count, common * _PULL)])
    found = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return common, [float(factor) for factor in np.clip(found, 0.5, 2.0)]


def _clamped(factor: float) -> float:
    return min(MAX_FACTOR, max(1 / MAX_FACTOR, factor))


@cache
def measured() -> Costs:
    """The coefficients that are installed with headend."""
    file = resources.files("encoder") / "costs.json"
    costs = documents.read(Costs, file.read_bytes(), key="encoder/costs.json")
    video = {codec.codec: costs.video[codec.costs_like] for codec in VIDEO if codec.costs_like is not None}
    sound = {codec.codec: costs.sound_s[codec.costs_like] for codec in AUDIO if codec.costs_like is not None}
    return replace(costs, video=video | costs.video, sound_s=sound | costs.sound_s)


def _frame_s(curve: Curve, rendition: VideoRendition) -> float:
    quality = math.exp(curve.crf_growth * (rendition.crf - curve.crf))
    return curve.frame_s * math.pow(_megapixels(rendition), curve.exponent) * quality / rendition.rate_divisor


def _megapixels(rendition: VideoRendition) -> float:
    return rendition.width_px * rendition.height_px / _MEGA
