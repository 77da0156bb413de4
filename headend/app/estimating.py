"""Estimating the cost of a plan: CPU, time, bytes and requests, by codec and rendition. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from encoder.costs import Costs
from headend.core.media import EncodePlan, EncodeTask, Kind

DOCUMENTS = 8
"""Objects of a release beside segments and playlists: manifests, the release document, indexes of thumbnails."""


@dataclass(frozen=True, slots=True)
class RenditionEstimate:
    """The estimated cost of a rendition.

    Attributes:
        id: The rendition's id.
        codec: Its codec, in FFmpeg's spelling.
        cpu_s: CPU seconds, including its share of decoding and scaling.
        stored_bytes: Bytes at its nominal rate.
    """

    id: str
    codec: str
    cpu_s: float
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated cost of a plan.

    Attributes:
        cpu_s: CPU seconds of all tasks, measuring included.
        longest_s: CPU seconds of the longest task.
        stored_bytes: Bytes of all segments at nominal rates.
        put_requests: Number of objects that are written.
        renditions: Estimates by rendition, in the plan's order.
        quality_cpu_s: CPU seconds of measuring; measuring for a floor counts as encoding.
    """

    cpu_s: float
    longest_s: float
    stored_bytes: int
    put_requests: int
    renditions: tuple[RenditionEstimate, ...]
    quality_cpu_s: float = 0.0

    def wall_s(self, slots: int) -> float:
        """Return a lower bound of the duration, in seconds, on a number of otherwise idle cores."""
        return max(self.cpu_s / max(slots, 1), self.longest_s)

    def by_codec(self) -> Mapping[str, tuple[float, int]]:
        """Return CPU seconds and bytes by codec, in the plan's order."""
        totals: dict[str, tuple[float, int]] = {}
        for estimate in self.renditions:
            cpu_s, stored_bytes = totals.get(estimate.codec, (0.0, 0))
            totals[estimate.codec] = (cpu_s + estimate.cpu_s, stored_bytes + estimate.stored_bytes)
        return totals


def estimate(plan: EncodePlan, costs: Costs, quality_cpu_s: float = 0.0) -> Estimate:
    """Add up the predicted costs of a plan's tasks.

    A task's cost, with decoding and scaling, is split among its renditions in proportion to the cost of their encoders.

    Args:
        plan: The plan.
        costs: Costs of the encoders.
        quality_cpu_s: Predicted CPU seconds of measuring.
    """
    known = weights(plan, costs)
    cpu_s: dict[str, float] = {}
    for task in plan.tasks:
        for rendition, share_s in shares(task, known):
            cpu_s[rendition] = cpu_s.get(rendition, 0.0) + share_s
    duration_s = float(plan.grid.duration_s)
    pictures = (*plan.video, *plan.trick)
    renditions = tuple(
        RenditionEstimate(
            rendition.id,
            rendition.codec.value,
            cpu_s.get(rendition.id, 0.0),
            round(rendition.average_bps * duration_s / 8),
        )
        for rendition in pictures
    ) + tuple(
        RenditionEstimate(
            rendition.id,
            rendition.codec.value,
            cpu_s.get(rendition.id, 0.0),
            round(rendition.bit_rate_bps * duration_s / 8),
        )
        for rendition in plan.audio
    )
    tracks = len(renditions) + len(plan.text)
    return Estimate(
        cpu_s=sum(task.cost for task in plan.tasks) + quality_cpu_s,
        longest_s=max((task.cost for task in plan.tasks), default=0.0),
        stored_bytes=sum(rendition.stored_bytes for rendition in renditions),
        put_requests=tracks * (plan.grid.segment_count + 3) + len(plan.tasks) + DOCUMENTS,
        renditions=renditions,
        quality_cpu_s=quality_cpu_s,
    )


def weights(plan: EncodePlan, costs: Costs) -> Mapping[str, float]:
    """Return the CPU seconds per frame of each video rendition's encoder alone, by rendition."""
    frame_s = {}
    for rendition in (*plan.video, *plan.trick):
        curve = costs.video[rendition.codec][plan.effort]
        megapixels = rendition.width_px * rendition.height_px / 1e6
        frame_s[rendition.id] = curve.frame_s * math.pow(megapixels, curve.exponent) / rendition.rate_divisor
    return frame_s


def shares(task: EncodeTask, known: Mapping[str, float]) -> list[tuple[str, float]]:
    """Split a task's cost among its renditions: pictures in proportion to `weights`, sound and text equally."""
    if not task.renditions:
        return []
    if task.kind is not Kind.VIDEO:
        return [(rendition, task.cost / len(task.renditions)) for rendition in task.renditions]
    total = sum(known[rendition] for rendition in task.renditions)
    return [(rendition, task.cost * known[rendition] / total) for rendition in task.renditions]
