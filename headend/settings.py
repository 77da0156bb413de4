"""What a person or the environment sets, as frozen nouns with their defaults.

Credentials are not here: S3's come from the usual AWS chain, on each machine from its own environment.
"""

from dataclasses import dataclass
from fractions import Fraction

from headend.media import Effort

DEFAULT_STORE = "./headend-store"
DEFAULT_LADDER = "studio"
ATTEMPTS = 3
"""How often a task is tried before the job fails."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where objects live.

    Attributes:
        url: A path, or ``s3://bucket/prefix``.
        endpoint_url: S3 endpoint; None for the SDK's own choice (``AWS_ENDPOINT_URL``, then AWS).
    """

    url: str = DEFAULT_STORE
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """What a person may choose of an encode.

    Attributes:
        segment_s: Wanted length of a segment.
        chunk_s: Wanted length of a chunk.
        effort: How much work the encoders do.
        most_changed_percent: A master of variable frame rate is refused when more of the grid's frames than this would
            have to be repeated or dropped.
    """

    segment_s: Fraction = Fraction(6)
    chunk_s: Fraction = Fraction(30)
    effort: Effort = Effort.STANDARD
    most_changed_percent: float = 50.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where tasks run.

    Attributes:
        scheduler: Address of a running Dask scheduler, such as ``tcp://10.0.0.5:8786``; None starts a local cluster.
        workers: Processes of the local cluster; None takes one per core.
    """

    scheduler: str | None = None
    workers: int | None = None
