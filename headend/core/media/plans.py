"""How renditions are made: encode tasks, and the plan that lists them."""

from dataclasses import dataclass, field
from fractions import Fraction

from headend.core.media.kinds import Effort, Kind
from headend.core.media.masters import Damage, Light, Master, ReadRange, TextTrack
from headend.core.media.protection import Protection, TrackEncryption, TrackKeys
from headend.core.media.quality import Floor
from headend.core.media.renditions import AudioLadder, AudioRendition, Poster, TextRendition, Thumbnails, VideoRendition
from headend.core.timing import Chunk, Grid


@dataclass(frozen=True, slots=True)
class LoudnessTarget:
    """How a worker sets a sound programme's loudness: it measures first, then encodes with one static gain.

    Attributes:
        argv: The command that measures; it prints a summary for each layout to standard error.
        layouts: Layout of each of the task's renditions, in order.
        mixed: Layouts whose channels are sums of the master's, so that they may exceed full scale.
        target_lufs: Target of the programme's integrated loudness; None keeps the master's.
        ceiling_dbtp: Highest allowed true peak of a result.
        reduction_db: How far the limiter may lower the highest peak; beyond that, the gain is lowered.
        limiter: Filters that limit peaks to the ceiling; used only if peaks would exceed it.
    """

    argv: tuple[str, ...]
    layouts: tuple[str, ...]
    mixed: tuple[str, ...]
    target_lufs: float | None
    ceiling_dbtp: float
    reduction_db: float
    limiter: str


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """One child process: a chunk × a group of renditions, a programme × its audio renditions, or text programmes.

    Attributes:
        id: Digest of its tracks and its chunk.
        kind: Content of its renditions; tasks of sound and text cover the whole title.
        chunk: The frames; of a task of sound or text, all of them.
        renditions: Their ids.
        argv: The command. ``{master}`` stands for the input and ``{scratch}`` for the folder of the outputs, which are
            named ``{scratch}/{rendition}.mp4``. For sound, ``{level-…}`` and ``{dialnorm-…}`` stand for values that
            follow from the measured loudness of a layout. For text, the outputs are ``{scratch}/text-{number}.mkv`` for
            each programme, and ``{sidecar}`` and ``{master-in-graph}`` stand for further inputs.
        cost: Expected CPU seconds.
        memory_bytes: Memory to reserve.
        loudness_target: Sound only: how its loudness is measured and set.
        sheets: Numbers of the thumbnail sheets that it also makes.
        posters: Numbers of the poster candidates that it also makes.
        text: Text only: the programmes that it reads.
        start_s: Text only: the time in its source at which the picture starts.
        reads: The parts of the master that it reads, for locating decoding errors.
        floor: Video only: the quality floor and how to check it; None for no floor.
    """

    id: str
    kind: Kind
    chunk: Chunk
    renditions: tuple[str, ...]
    argv: tuple[str, ...]
    cost: float
    memory_bytes: int = 0
    loudness_target: LoudnessTarget | None = None
    sheets: tuple[int, ...] = ()
    text: tuple[TextTrack, ...] = ()
    start_s: Fraction = Fraction(0)
    reads: tuple[ReadRange, ...] = ()
    posters: tuple[int, ...] = ()
    floor: Floor | None = None

    @property
    def parts(self) -> tuple["Part", ...]:
        """Its results: its chunk of each rendition, and of thumbnails and poster."""
        extra = (*(["thumbnails"] if self.sheets else []), *(["poster"] if self.posters else []))
        return tuple((rendition, self.chunk.number) for rendition in (*self.renditions, *extra))

    @property
    def label(self) -> str:
        """Its label for display: its chunk, and up to three of its renditions."""
        names = f"{', '.join(self.renditions[:3])}{' …' if len(self.renditions) > 3 else ''}"
        return f"chunk {self.chunk.number} of {names}" if self.kind is Kind.VIDEO else names


Part = tuple[str, int]
"""The smallest unit of work: a rendition's id, and the number of a chunk."""


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """Everything that a release will contain, and the remaining work, decided before any work starts.

    Attributes:
        title: Catalogue entry.
        master: The file.
        ladder: Name of the ladder.
        effort: How much work the encoders do.
        tool: Version line of the encoder.
        grid: Sync frames, segments and chunks.
        decisions: One line per decision that follows from the probe.
        video: Video renditions, best first within a codec.
        audio: Audio renditions.
        tasks: Tasks for workers, the most urgent first; among equals the longest first.
        trick: Trick play renditions, with one picture per GOP; at most one per codec.
        thumbnails: Layout of the thumbnails; None if none are made.
        text: Text renditions, programme by programme.
        light: Light values of the master, which HDR renditions keep.
        allow_damaged: Whether damage is concealed and recorded; otherwise it fails the job.
        damage: Frames that the master's own index misses.
        poster: Candidates for the poster; None if none is made.
        chunks: Chunks of the picture. Sound and text have a single chunk.
        tracks: Id of the track in the store for each rendition, thumbnails and poster, by their ids.
        tool_digest: SHA-256 of the encoder's program.
        picture_stream: Number of the picture in the master.
        sound: How the sound is encoded.
        protection: Encryption of the title: the scheme of its tracks, then those of copies; empty for a clear title.
        sealings: For each encrypted track, by its name in ``tracks``. Tracks of copies have their own names, such as
            ``avc-1080p-6000k.cenc``; both tracks are made from the same encoded rendition.
    """

    title: str
    master: Master
    ladder: str
    effort: Effort
    tool: str
    grid: Grid
    decisions: tuple[str, ...]
    video: tuple[VideoRendition, ...]
    audio: tuple[AudioRendition, ...]
    tasks: tuple[EncodeTask, ...]
    trick: tuple[VideoRendition, ...] = ()
    thumbnails: Thumbnails | None = None
    text: tuple[TextRendition, ...] = ()
    light: Light | None = None
    allow_damaged: bool = False
    damage: tuple[Damage, ...] = ()
    poster: Poster | None = None
    chunks: tuple[Chunk, ...] = ()
    tracks: dict[str, str] = field(default_factory=dict)
    tool_digest: str = ""
    picture_stream: int = 0
    sound: AudioLadder | None = None
    protection: tuple[Protection, ...] = ()
    sealings: dict[str, TrackEncryption] = field(default_factory=dict)

    @property
    def whole(self) -> Chunk:
        """The single chunk of sound and text."""
        return Chunk(0, 0, self.grid.frame_count, 1)

    def chunks_of(self, rendition: str) -> tuple[Chunk, ...]:
        """The chunks of a rendition, without those that hold nothing of it."""
        rendition = self.encoded_for(rendition)
        if rendition == "poster" and self.poster:
            return tuple(c for c in self.chunks if self.poster.numbers(c.first_frame, c.end_frame))
        if rendition in {*(sound.id for sound in self.audio), *(text.id for text in self.text)}:
            return (self.whole,)
        return self.chunks

    def encoded_for(self, name: str) -> str:
        """The rendition that is encoded for a track, given the track's name in ``tracks``."""
        encryption = self.sealings.get(name)
        return encryption.rendition if encryption is not None else name

    @property
    def track_keys(self) -> dict[str, TrackKeys]:
        """The keys of encrypted tracks, by their names in ``tracks``."""
        by_scheme = {protection.scheme: protection for protection in self.protection}
        return {
            name: by_scheme[encryption.scheme].track_keys(encryption.kids) for name, encryption in self.sealings.items()
        }

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that the release needs, whether done or not."""
        return tuple((rendition, chunk.number) for rendition in self.tracks for chunk in self.chunks_of(rendition))
