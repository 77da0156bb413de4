"""Users' settings, as frozen types with their defaults.

Credentials are not included: those for S3 come from the usual AWS chain of each machine.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from headend.core.codecs import media_codecs
from headend.core.media import AudioRole, Codec, Crop, Effort, Scheme, TextRole

DEFAULT_STORE = "./headend-store"
DEFAULT_LADDER = "studio"
DEFAULT_LOUDNESS_LUFS = -24
"""Integrated loudness of long-form programmes; ATSC A/85."""
DEFAULT_MOST_SOUND_GAP_S = Fraction(1, 2)
"""Longer gaps in the sound are audible, so a person must decide whether to accept them."""
ATTEMPTS = 3
"""How often a task is tried before the job fails."""
COPIED_CODECS = tuple(codec.codec for codec in media_codecs() if codec.in_cenc_copy)
"""Codecs that devices without ``cbcs`` support decode."""
DEFAULT_STORE_PATIENCE_S = 900.0
"""How long a job waits for a store that can't be reached."""
DEFAULT_WAIT_FOR_WORKERS_S = 600.0
"""How long a job waits for a cluster that has no worker for it."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Address of the store, and behaviour if it can't be reached.

    Attributes:
        url: A path, or ``s3://bucket/prefix``.
        endpoint_url: S3 endpoint; None for the SDK's own choice (``AWS_ENDPOINT_URL``, then AWS).
        patience_s: How long requests are retried while the store can't be reached; 0 fails at once.
    """

    url: str = DEFAULT_STORE
    endpoint_url: str | None = None
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Source of content keys. Each worker opens it itself, so that tasks never carry keys across the network.

    Attributes:
        address: A file, ``env:NAME``, ``cpix:FILE`` or ``speke+https://HOST/PATH``.
        private_key: PEM file of the recipient's private key, for encrypted CPIX documents.
    """

    address: str
    private_key: str | None = None


@dataclass(frozen=True, slots=True)
class ProtectionSettings:
    """Encryption of a title.

    Attributes:
        schemes: The scheme of the release's tracks, and those of additional copies.
        keys: Source of keys.
        one_key: Whether all tracks share one key; otherwise sound, SD, HD and UHD each have their own.
        epoch: How many times the title has been given new keys, from 1.
        systems: Names of the DRM systems in manifests.
        copied_codecs: Codecs to include in the copy in ``cenc``, if the title has them.
        lead_s: Clear lead: seconds at the start that are not encrypted.
        rotate_s: Seconds after which keys change; 0 for never.
        hdcp: Whether HLS states which variants need a protected output.
    """

    schemes: tuple[Scheme, ...]
    keys: KeySettings
    one_key: bool = False
    epoch: int = 1
    systems: tuple[str, ...] = ("clearkey",)
    copied_codecs: tuple[Codec, ...] = COPIED_CODECS
    lead_s: Fraction = Fraction(0)
    rotate_s: Fraction = Fraction(0)
    hdcp: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on irregular frame timing, beyond which a master is rejected.

    Attributes:
        dropped_percent: Largest share of the master's frames that may be dropped.
        repeated_percent: Largest share of the title's frames that may be repeats. Screen recordings have many repeats,
            and stills consist of them.
    """

    dropped_percent: float = 20.0
    repeated_percent: float = 100.0


DEFAULT_LIMITS = Limits()


class Cropping(StrEnum):
    """How to treat black bars in a master's picture."""

    NONE = "none"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """The user's choice among several video streams of a master.

    Attributes:
        program: Number of a program of a transport stream; None for that of the chosen video stream.
        video: Stream number; None for the master's default stream, or the first one if there is none.
    """

    program: int | None = None
    video: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a sound stream.

    Attributes:
        stream: Stream number in the master.
        number: From 0, in the order of the stream.
    """

    stream: int
    number: int

    def __str__(self) -> str:
        return f"{self.stream}.{self.number}"


@dataclass(frozen=True, slots=True)
class AudioChoice:
    """A sound programme that the user selects from a master, with its labels.

    Attributes:
        streams: Stream numbers in the master, or single channels of streams. Several are joined in this order: two
            channels make stereo (L R), six 5.1 (L R C LFE Ls Rs), eight 7.1 (L R C LFE and both pairs of surrounds).
        language: BCP 47 tag; None keeps the master's.
        role: Its purpose; None keeps the master's.
        name: Its name in players; None keeps the master's title.
    """

    streams: tuple[int | Channel, ...]
    language: str | None = None
    role: AudioRole | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AudioFileChoice:
    """A file with sound that the user adds to a published title; other fields as in `AudioChoice`.

    Attributes:
        source: A file's path or ``s3://bucket/key``.
        language: BCP 47 tag.
    """

    source: str
    language: str
    role: AudioRole | None = None
    name: str | None = None


CAPTIONS = "captions"
"""Name of CEA-608 captions in the picture, in place of a stream number."""


@dataclass(frozen=True, slots=True)
class TextChoice:
    """A text programme that the user adds to a master, or new labels for one of the master's own.

    Attributes:
        source: A file's path or ``s3://bucket/key``; or a stream number of the master, or `CAPTIONS`.
        language: BCP 47 tag; None keeps the master's.
        role: Its purpose; None keeps the master's.
        name: Its name in players; None keeps the master's title.
    """

    source: str
    language: str | None = None
    role: TextRole | None = None
    name: str | None = None

    @property
    def is_sidecar(self) -> bool:
        """Whether it is a sidecar file."""
        return self.source != CAPTIONS and not self.source.isdecimal()


SubtitleOffset = Fraction | None
"""Seconds to add to the times of sidecars; None subtracts whole hours if the times match the film then."""


class Fit(StrEnum):
    """How a ladder's rungs are chosen for a master."""

    FIXED = "fixed"
    PER_TITLE = "per-title"


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of a per-title ladder.

    Attributes:
        renditions: Total number of SDR video renditions; None for as many as the pattern ladder has.
        top_vmaf: VMAF of each codec's highest rung; more bits would make no visible difference.
        analysis_share: Maximum CPU time of the analysis, as a share of the encode's.
    """

    renditions: int | None = None
    top_vmaf: float = 95.0
    analysis_share: float = 0.05


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """User settings of an encode.

    Attributes:
        segment_s: Desired length of a segment.
        chunk_s: Desired length of a chunk.
        effort: How much work the encoders do.
        limits: How many frames of a master may be dropped and repeated.
        crop: The part of the master's picture to keep, or whether to detect black bars.
        audio: Sound programmes to encode, the first one as default; empty for all of the master's.
        loudness_lufs: Target of every programme's integrated loudness; None leaves it unchanged.
        thumbnails: Whether to make thumbnails and a trick play rendition.
        text: Sidecar files, and labels of text in the master.
        embedded_text: Text of the master to use: stream numbers and `CAPTIONS`; None for all.
        picture: The picture to encode, and thereby the program of a transport stream.
        compressed: Whether to apply the dynamic range compression of AC-3 and E-AC-3 sources.
        subtitle_offset: See `SubtitleOffset`.
        most_sound_gap_s: A master is rejected if its sound has a longer gap, or gaps of more than twice as much in
            total; shorter ones are filled with silence.
        allow_damaged: Whether to conceal and record damage in the master; otherwise damage fails the job.
        floor_vmaf: Quality floor: if a segment of an SDR rendition scores lower, its chunk is encoded once more with a
            lower constant rate factor. None for no floor.
    """

    segment_s: Fraction = Fraction(6)
    chunk_s: Fraction = Fraction(30)
    effort: Effort = Effort.STANDARD
    limits: Limits = DEFAULT_LIMITS
    crop: Crop | Cropping = Cropping.NONE
    audio: tuple[AudioChoice, ...] = ()
    loudness_lufs: int | None = DEFAULT_LOUDNESS_LUFS
    thumbnails: bool = True
    text: tuple[TextChoice, ...] = ()
    embedded_text: tuple[str, ...] | None = None
    most_sound_gap_s: Fraction = DEFAULT_MOST_SOUND_GAP_S
    allow_damaged: bool = False
    subtitle_offset: SubtitleOffset = Fraction(0)
    compressed: bool = False
    picture: PictureChoice = PictureChoice()
    floor_vmaf: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The cluster that runs tasks.

    Attributes:
        scheduler: Address of a running Dask scheduler, such as ``tcp://10.0.0.5:8786``; None starts a local cluster.
        workers: Number of processes of the local cluster; None for one per core.
        scratch: Folder for the local cluster's scratch files; None for the current folder.
        wait_for_workers_s: How long a job waits for a cluster that has no suitable worker.
    """

    scheduler: str | None = None
    workers: int | None = None
    scratch: str | None = None
    wait_for_workers_s: float = DEFAULT_WAIT_FOR_WORKERS_S
