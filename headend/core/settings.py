"""Settings from users and the environment, as frozen types with their defaults.

Credentials are not here: S3's come from the usual AWS chain, on each machine from its own environment.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from headend.core.codecs import media_codecs
from headend.core.media import AudioRole, Codec, Crop, Effort, Scheme, TextRole

DEFAULT_STORE = "./headend-store"
DEFAULT_LADDER = "studio"
DEFAULT_LOUDNESS_LUFS = -24
"""Integrated loudness of long-form programmes: ATSC A/85."""
DEFAULT_MOST_SOUND_GAP_S = Fraction(1, 2)
"""A longer hole in the sound is heard as a fault, which a person should decide about."""
ATTEMPTS = 3
"""How often a task is tried before the job fails."""
COPIED_CODECS = tuple(one.codec for one in media_codecs() if one.in_cenc_copy)
"""Codecs of the devices that can't decrypt ``cbcs``."""
DEFAULT_STORE_PATIENCE_S = 900.0
"""How long a job waits for a store that can't be reached."""
DEFAULT_WAIT_FOR_WORKERS_S = 600.0
"""How long a job waits for a cluster that has no worker for it."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where objects live.

    Attributes:
        url: A path, or ``s3://bucket/prefix``.
        endpoint_url: S3 endpoint; None for the SDK's own choice (``AWS_ENDPOINT_URL``, then AWS).
        patience_s: How long a request is repeated while the store can't be reached; 0 fails at once.
    """

    url: str = DEFAULT_STORE
    endpoint_url: str | None = None
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Where content keys come from; each worker opens it by itself, so that no key travels.

    Attributes:
        address: A file, ``env:NAME``, ``cpix:FILE`` or ``speke+https://HOST/PATH``.
        private_key: PEM file of the recipient's private key, for encrypted CPIX documents.
    """

    address: str
    private_key: str | None = None


@dataclass(frozen=True, slots=True)
class ProtectionSettings:
    """How a title is encrypted.

    Attributes:
        schemes: The scheme of the release's tracks, and those of further copies.
        keys: Where keys come from.
        one_key: Whether one key opens all; otherwise sound, SD, HD and UHD each have their own.
        epoch: Counts the times that the title was given new keys, from 1.
        systems: DRM systems that manifests address, by their names.
        copied_codecs: What the copy in ``cenc`` has, as far as the title has it.
        lead_s: Seconds at the start that stay in the clear.
        rotate_s: Seconds after which keys change; 0 keeps them.
        hdcp: Whether HLS says which variants need a protected output.
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
    """How unevenly a master's frames may be spaced before it is refused.

    Attributes:
        dropped_percent: Of the master's frames, how many may be lost to the viewer.
        repeated_percent: Of the title's frames, how many may be repeats: many in a recorded screen, nearly all of a
            still.
    """

    dropped_percent: float = 20.0
    repeated_percent: float = 100.0


DEFAULT_LIMITS = Limits()


class Cropping(StrEnum):
    """What becomes of black bars in a master's picture."""

    NONE = "none"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """Which picture a person picks from a master that has several.

    Attributes:
        program: Number of a program of a transport stream; None for the picture's own.
        video: Stream number of the picture; None for the one that the master marks, else the first.
    """

    program: int | None = None
    video: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a stream of sound.

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
    """A programme of sound that a person picks from a master, and what is to be said of it.

    Attributes:
        streams: Stream numbers in the master, or single channels of streams. Several are joined, channel after channel:
            two make stereo (L R), six 5.1 (L R C LFE Ls Rs), eight 7.1 (L R C LFE, then both pairs of surrounds).
        language: BCP 47 tag; None keeps the master's.
        role: What the programme is for; None keeps what the master says.
        name: What players show; None keeps the master's title.
    """

    streams: tuple[int | Channel, ...]
    language: str | None = None
    role: AudioRole | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AudioFileChoice:
    """A file whose sound a person adds to a published title; the rest as in `AudioChoice`.

    Attributes:
        source: A file's path or ``s3://bucket/key``.
        language: BCP 47 tag.
    """

    source: str
    language: str
    role: AudioRole | None = None
    name: str | None = None


CAPTIONS = "captions"
"""What people call CEA-608 captions in the picture, where others are stream numbers."""


@dataclass(frozen=True, slots=True)
class TextChoice:
    """A programme of text that a person adds to a master, or says more of.

    Attributes:
        source: A file's path or ``s3://bucket/key``; or a stream number of the master, or `CAPTIONS`.
        language: BCP 47 tag; None keeps the master's.
        role: What it is for; None keeps what the master says.
        name: What players show; None keeps the master's title.
    """

    source: str
    language: str | None = None
    role: TextRole | None = None
    name: str | None = None

    @property
    def is_sidecar(self) -> bool:
        """Whether it is a file beside the master."""
        return self.source != CAPTIONS and not self.source.isdecimal()


SubtitleOffset = Fraction | None
"""Seconds that are added to the times of sidecars; None takes off whole hours where that puts them on the film."""


class Fit(StrEnum):
    """How the rungs of a ladder are placed for a master."""

    FIXED = "fixed"
    PER_TITLE = "per-title"


@dataclass(frozen=True, slots=True)
class Targets:
    """What is wanted of a ladder that is fitted to one title.

    Attributes:
        renditions: SDR renditions of picture in all; None for as many as the pattern gives.
        top_vmaf: VMAF of each codec's highest rung: more bits are not seen any more.
        analysis_share: What the analysis may take, as a share of the encode's CPU.
    """

    renditions: int | None = None
    top_vmaf: float = 95.0
    analysis_share: float = 0.05


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """What a person may choose of an encode.

    Attributes:
        segment_s: Wanted length of a segment.
        chunk_s: Wanted length of a chunk.
        effort: How much work the encoders do.
        limits: How many frames of a master may be dropped and repeated.
        crop: The part of the master's picture to keep, or whether to look for black bars.
        audio: The programmes of sound to make, the first one first; empty for all that the master has.
        loudness_lufs: Integrated loudness that every programme is brought to; None leaves it as it is.
        thumbnails: Whether thumbnails and a rendition for trick play are made.
        text: Files of text beside the master, and what is to be said of text in it.
        embedded_text: What is taken of the master's own text: stream numbers and `CAPTIONS`; None for all.
        picture: Which picture is encoded, and so which program of a transport stream.
        compressed: Whether the dynamic range compression that AC-3 and E-AC-3 carry is applied to them.
        subtitle_offset: Seconds that are added to the times of sidecars; None takes off whole hours where that helps.
        most_sound_gap_s: A master is refused if its sound has a longer hole in one place, or more than twice as much in
            all; shorter ones are filled with silence.
        allow_damaged: Whether what can't be decoded of the master is concealed and put on record; otherwise the job
            fails of it.
        floor_vmaf: Score below which no segment of an SDR rendition is left as it is: its chunk is encoded once more,
            with a lower constant rate factor. None for no floor.
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
    """Where tasks run.

    Attributes:
        scheduler: Address of a running Dask scheduler, such as ``tcp://10.0.0.5:8786``; None starts a local cluster.
        workers: Processes of the local cluster; None takes one per core.
        scratch: Folder for the scratch files of the local cluster; None for the current one's.
        wait_for_workers_s: How long a job waits for a cluster that has no worker for it.
    """

    scheduler: str | None = None
    workers: int | None = None
    scratch: str | None = None
    wait_for_workers_s: float = DEFAULT_WAIT_FOR_WORKERS_S
