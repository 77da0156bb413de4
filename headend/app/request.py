"""The request to `headend.app.pipeline.submit`, the events that it reports, and its outcome. Data types only.

Nothing here imports Dask, so that commands that only read the queue start quickly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from headend.core.media import EncodePlan, Presentation
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import DEFAULT_THRESHOLDS, QualityReport, Thresholds
from headend.core.settings import (
    ClusterSettings,
    EncodeSettings,
    ProtectionSettings,
    StoreSettings,
    Targets,
)
from ladders.ladder import Ladder

if TYPE_CHECKING:
    from encoder import cluster


@dataclass(frozen=True, slots=True)
class Request:
    """A request to make a title of a master.

    Attributes:
        master: A path, or ``s3://bucket/key``.
        title: Catalogue entry.
        ladder: The ladder to fit.
        store: Where the release goes.
        cluster: Where tasks run.
        encode: How it is encoded.
        publish_early: Whether H.264 and AAC are encoded first, and published before the rest is done.
        force: Whether to encode again what the store already has.
        hold: Whether the release waits for `headend publish`.
        checking: How much of the title is measured before it is published.
        thresholds: Lowest quality of the best renditions.
        targets: Targets of a ladder that is fitted to the title; None uses the ladder as it is.
        submitted_at: When the request was made: UTC, ISO 8601; empty for now. A release never replaces one of a newer
            request.
        protection: How the title is encrypted; None leaves it clear.
    """

    master: str
    title: str
    ladder: Ladder
    store: StoreSettings
    cluster: ClusterSettings
    encode: EncodeSettings
    publish_early: bool = False
    force: bool = False
    hold: bool = False
    checking: Checking = Checking.OFF
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    submitted_at: str = ""
    targets: Targets | None = None
    protection: ProtectionSettings | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan is made and encoding begins.

    Attributes:
        plan: The title's renditions, and the tasks for those parts that are missing.
        reused_parts: Number of parts (a chunk of a rendition) that are in the store already.
        reused_tracks: Renditions that are complete already.
        analysis_cpu_s: CPU seconds of the analysis that fitted the ladder.
    """

    plan: EncodePlan
    reused_parts: int = 0
    reused_tracks: tuple[str, ...] = ()
    analysis_cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A stage has begun; ``name`` is for people."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishedEarly:
    """H.264 and AAC can be played while the rest is encoded."""

    presentation: Presentation


@dataclass(frozen=True, slots=True)
class Measured:
    """A measuring task is done.

    Attributes:
        done: Measuring tasks that are done.
        tasks: Measuring tasks that are known so far.
        cpu_s: CPU seconds of the last one.
        cost: Its predicted CPU seconds.
    """

    done: int
    tasks: int
    cpu_s: float = 0.0
    cost: float = 0.0


Event: TypeAlias = "Step | Planned | PublishedEarly | Measured | cluster.Event"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A title whose release is in the store.

    Attributes:
        plan: The plan.
        presentation: The release as players see it.
        is_current: Whether the release is the title's current one.
        newer: The release of a newer request, which is current instead; else empty.
        held: Whether the release waits for `headend publish`.
        tracks: Number of renditions, thumbnails and poster included.
        reused_tracks: Those that an earlier run had finished.
        parts: Number of their chunks.
        reused_parts: Those that an earlier run had finished.
        encoded_tasks: Tasks that this run has finished.
        cpu_s: CPU seconds of this run's encoders.
        predicted_cpu_s: Their predicted CPU seconds.
        wall_s: Seconds from the request to the release.
        quality: The quality report; None if quality was not measured.
    """

    plan: EncodePlan
    presentation: Presentation
    is_current: bool
    newer: str
    held: bool
    tracks: int
    reused_tracks: int
    parts: int
    reused_parts: int
    encoded_tasks: int
    cpu_s: float
    predicted_cpu_s: float
    wall_s: float
    quality: QualityReport | None = None


Workers: TypeAlias = Callable[[], "tuple[cluster.Worker, ...]"]
"""Returns the workers that exist."""
