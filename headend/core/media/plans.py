"""How renditions are made: tasks, and the plan of them all."""

from dataclasses import dataclass, field
from fractions import Fraction

from headend.core.media.kinds import Effort, Kind
from headend.core.media.masters import Damage, Light, Master, ReadRange, TextTrack
from headend.core.media.protection import Protection, Sealing, TrackKeys
from headend.core.media.quality import Floor
from headend.core.media.renditions import AudioLadder, AudioRendition, Poster, TextRendition, Thumbnails, VideoRendition
from headend.core.timing import Chunk, Grid


@dataclass(frozen=True, slots=True)
class LoudnessTarget:
    """How a worker brings a programme of sound to its loudness: measured first, then encoded with one static gain.

    Attributes:
        argv: The command that measures; it tells a summary for each layout on standard error.
        layouts: Layout of each rendition of the task, in their order.
        mixed: Layouts whose channels are sums of the master's, so that they may exceed full scale.
        target_lufs: Where the programme's integrated loudness goes; None keeps the master's.
        ceiling_dbtp: Highest true peak of a result.
        reduction_db: By how much the limiter may lower the highest peak; beyond that, the gain is lowered.
        limiter: The filters that hold peaks at the ceiling; used only where they would exceed it.
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
    """One child process: a chunk × a group of renditions, a programme × its audio renditions, or programmes of text.

    Attributes:
        id: Digest of the tracks that it makes and of its chunk.
        kind: What the renditions carry; tasks of sound and text cover the whole title.
        chunk: The frames; of a task of sound or text, all of them.
        renditions: Their ids.
        argv: The command. ``{master}`` stands for the input and ``{scratch}`` for the folder of the outputs, which are
            named ``{scratch}/{rendition}.mp4``. Of sound, ``{level-…}`` and ``{dialnorm-…}`` stand for what
            follows from the measured loudness of a layout. Of text, the outputs are ``{scratch}/text-{number}.mkv`` for
            each programme, and ``{sidecar}`` and ``{master-in-graph}`` stand for further inputs.
        cost: CPU seconds that it is expected to take.
        memory_bytes: Memory that is to be set aside for it.
        loudness_target: Sound only: how its loudness is measured and set.
        sheets: Numbers of the sheets of thumbnails that are made beside.
        posters: Numbers of the candidates for the poster that are made beside.
        text: Text only: the programmes that it reads.
        start_s: Text only: the time in its source at which the picture starts.
        reads: What it reads of the master, to be looked through where decoding goes wrong.
        floor: Video only: what is done about segments that look worse than a floor; None for nothing.
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
        """What it makes: its chunk of each of its renditions, and of thumbnails and poster."""
        beside = (*(["thumbnails"] if self.sheets else []), *(["poster"] if self.posters else []))
        return tuple((rendition, self.chunk.number) for rendition in (*self.renditions, *beside))

    @property
    def label(self) -> str:
        """What people call it: its chunk, and up to three of its renditions."""
        names = f"{', '.join(self.renditions[:3])}{' …' if len(self.renditions) > 3 else ''}"
        return f"chunk {self.chunk.number} of {names}" if self.kind is Kind.VIDEO else names


Part = tuple[str, int]
"""The smallest piece of work: a rendition, by its id, and the number of a chunk."""


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """Everything that a title is to have, and the work that is left, decided before anything is done.

    Attributes:
        title: Catalogue entry.
        master: The file.
        ladder: Name of the ladder.
        effort: How much work the encoders do.
        tool: Version line of the encoder.
        grid: Where sync frames, segments and chunks lie.
        decisions: One line per decision that was taken from the probe.
        video: Video renditions, best first within a codec.
        audio: Audio renditions.
        tasks: What workers do, the most urgent first: longest first among equals.
        trick: Trick play renditions, of one picture for each GOP; at most one for a codec.
        thumbnails: How they are laid; None where none are made.
        text: Text renditions, programme by programme.
        light: The master's, which HDR renditions keep.
        allow_damaged: Whether damage is concealed and put on record; otherwise the job fails of it.
        damage: Frames that the master's own index misses.
        poster: The candidates for the poster; None where none is made.
        chunks: The chunks of the picture. Sound and text are one chunk, the whole.
        tracks: For each rendition, thumbnails and poster, by their ids: the id of the track that it is in the store.
        tool_digest: SHA-256 of the encoder's program.
        picture_stream: Number of the picture in the master.
        sound: How its sound is encoded.
        protection: How the title is encrypted: the scheme of its tracks, then those of copies; empty for a clear title.
        sealings: For each encrypted track, by its name in ``tracks``. Tracks of copies have names of their own, such as
            ``avc-1080p-6000k.cenc``; what is encoded for them is the rendition that both have in common.
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
    sealings: dict[str, Sealing] = field(default_factory=dict)

    @property
    def whole(self) -> Chunk:
        """The one chunk of sound and text."""
        return Chunk(0, 0, self.grid.frame_count, 1)

    def chunks_of(self, rendition: str) -> tuple[Chunk, ...]:
        """The chunks of which a rendition is made, as far as they hold anything of it."""
        rendition = self.encoded_for(rendition)
        if rendition == "poster" and self.poster:
            return tuple(c for c in self.chunks if self.poster.numbers(c.first_frame, c.end_frame))
        if rendition in {*(sound.id for sound in self.audio), *(text.id for text in self.text)}:
            return (self.whole,)
        return self.chunks

    def encoded_for(self, name: str) -> str:
        """The rendition that is encoded for a track, by the track's name in ``tracks``."""
        sealing = self.sealings.get(name)
        return sealing.rendition if sealing is not None else name

    @property
    def track_keys(self) -> dict[str, TrackKeys]:
        """The keys of encrypted tracks, by their names in ``tracks``."""
        by_scheme = {protection.scheme: protection for protection in self.protection}
        return {name: by_scheme[one.scheme].track_keys(one.kids) for name, one in self.sealings.items()}

    @property
    def parts(self) -> tuple[Part, ...]:
        """All work that the title needs, whether or not it is done."""
        return tuple((rendition, chunk.number) for rendition in self.tracks for chunk in self.chunks_of(rendition))
