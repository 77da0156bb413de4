"""What a person asks `headend.app.pipeline.submit` for, what it reports on the way, and what comes out. Nouns only.

Nothing here loads Dask: the queue of jobs, which is made of requests, is listed in an instant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from headend.core.media import EncodePlan, Presentation
from headend.core.media.quality import DEFAULT_THRESHOLDS, Checking, QualityReport, Thresholds
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
    """What a person asks for.

    Attributes:
        master: A path, or ``s3://bucket/key``.
        title: Catalogue entry.
        ladder: The ladder to fit.
        store: Where the release goes.
        cluster: Where it is encoded.
        encode: How it is encoded.
        publish_early: Whether H.264 and AAC go first, and are published before the rest is there.
        force: Whether what the store has is encoded anew.
        hold: Whether the release is made but left to a person to publish.
        checking: How much of the title is measured before it is published.
        thresholds: What the best renditions have to reach then.
        targets: What is wanted of a ladder that is fitted to the title; None takes the ladder as it is.
        submitted_at: When it was asked for: UTC, ISO 8601; empty for now. A release of an older request does not take
            the place of one of a newer request.
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
    """The plan stands and the work begins.

    Attributes:
        plan: What the title is to have, and the tasks that make what is missing.
        reused_parts: How much of it an earlier run has made: chunks of renditions.
        reused_tracks: The renditions that are complete already.
        analysis_cpu_s: CPU seconds of the analysis that the ladder was fitted by.
    """

    plan: EncodePlan
    reused_parts: int = 0
    reused_tracks: tuple[str, ...] = ()
    analysis_cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the way has begun; ``name`` is for people."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishedEarly:
    """H.264 and AAC can be played, while the rest is encoded."""

    presentation: Presentation


@dataclass(frozen=True, slots=True)
class Measured:
    """Quality has been measured further.

    Attributes:
        done: Tasks of measuring that are done.
        tasks: Those that are known so far.
        cpu_s: CPU seconds that the last one took.
        cost: What it was expected to take.
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
        plan: What was decided.
        presentation: What players get.
        is_current: Whether the release is the title's current one.
        newer: The release of a newer request, which is current instead; else empty.
        held: Whether the release waits for `headend publish`.
        tracks: Renditions, thumbnails and poster in all.
        reused_tracks: Those that an earlier run had finished.
        parts: Chunks of these in all.
        reused_parts: Those that an earlier run had made.
        encoded_tasks: Tasks that this run has finished.
        cpu_s: CPU seconds of this run's encoders.
        predicted_cpu_s: What they were expected to take.
        wall_s: Seconds from the request to the release.
        quality: How the release looks and sounds; None if it was not measured.
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
