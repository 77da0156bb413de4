"""Results: receipts of tasks, tracks and releases."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from headend.core.media.masters import Damage, Light, Master
from headend.core.media.protection import Protection
from headend.core.media.renditions import AudioLadder, AudioRendition, Poster, TextRendition, Thumbnails, VideoRendition
from headend.core.timing import Grid


@dataclass(frozen=True, slots=True)
class Loudness:
    """How loud a programme is in one layout, and what was made of it; of the whole programme, before coding.

    Attributes:
        layout: ``2.0`` or ``5.1``.
        integrated_lufs: Integrated loudness, ITU-R BS.1770-4; None when nothing is above the gate of -70 LUFS.
        range_lu: Loudness range, EBU Tech 3342.
        true_peak_dbtp: Highest true peak of any channel, ITU-R BS.1770-4, annex 2; None for digital silence.
        gain_db: The static gain that was applied.
        limited: Whether peaks were held at the ceiling by a limiter.
        result_lufs: Integrated loudness after the gain; None as above.
        result_dbtp: True peak after gain and limiter; None as above.
        dialnorm_db: What AC-3 and E-AC-3 streams say of their loudness: -31 to -1.
    """

    layout: str
    integrated_lufs: float | None
    range_lu: float
    true_peak_dbtp: float | None
    gain_db: float
    limited: bool
    result_lufs: float | None
    result_dbtp: float | None
    dialnorm_db: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A media segment in the store.

    Attributes:
        number: From 1.
        start_ticks: Decode time of its first sample (``tfdt``), in the track's timescale.
        duration_ticks: Sum of its samples' durations.
        samples: Frames of video, codec frames of sound, samples of text, or cues of a WebVTT file.
        size_bytes: Size of the object.
        sha256: Hex digest of the object.
        sync: Video only: for each sync frame, the offset of its ``moof`` in the segment and the length in bytes up to
            the end of that frame. One range holds all that a trick-play client needs.
    """

    number: int
    start_ticks: int
    duration_ticks: int
    samples: int
    size_bytes: int
    sha256: str
    sync: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """What one task made of one track.

    Attributes:
        rendition: The id of the rendition that the track is.
        init_sha256: Hex digest of the init segment; the same in every chunk of a rendition.
        init_bytes: Size of the init segment; 0 where a form has none.
        timescale: Ticks per second.
        priming_samples: Audio: samples before the programme's first, which the init segment tells players to drop.
        average_bps: Over the task's segments.
        peak_bps: Of the segment with the highest rate.
        segments: In order.
        loudness: Audio: as measured and set.
        track: The track's id.
        window_bps: Video: the highest rate in any window of this part, see `headend.core.rates.windows`.
        encoded_again: Video: numbers of the segments that came out above the cap, and were encoded again.
        codec_string: RFC 6381, where the init segment is encrypted as a whole and can't tell; else empty.
        later_inits: Hex digests of the init segments of later periods, whose size is that of the first.
    """

    rendition: str
    init_sha256: str
    init_bytes: int
    timescale: int
    priming_samples: int
    average_bps: int
    peak_bps: int
    segments: tuple[Segment, ...]
    loudness: Loudness | None = None
    track: str = ""
    window_bps: int = 0
    encoded_again: tuple[int, ...] = ()
    codec_string: str = ""
    later_inits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one task has written so far; written after everything that it names.

    A task that is killed while it stores its segments leaves a receipt for the tracks that are complete.

    Attributes:
        task: The task's id.
        chunk: Number of the chunk that it has encoded.
        tracks: One per track of the task, as far as all of its segments are stored.
        attempt: Which attempt succeeded, from 1.
        worker: Where it ran.
        cpu_s: CPU seconds of the child process.
        wall_s: Seconds from start to end.
        peak_memory_bytes: Peak resident memory of the child process.
        decode_errors: How often the decoders complained, also of what lies before the chunk and is not used.
        damage: What was concealed.
        submission: The `Order.submission` that it answers.
    """

    task: str
    chunk: int
    tracks: tuple[EncodedTrack, ...]
    attempt: int
    worker: str
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    decode_errors: int = 0
    damage: tuple[Damage, ...] = ()
    submission: str = ""


Rendition = TypeVar("Rendition", VideoRendition, AudioRendition, TextRendition, Thumbnails, Poster)

Playable = TypeVar("Playable", VideoRendition, AudioRendition, TextRendition)


@dataclass(frozen=True, slots=True)
class Track(Generic[Rendition]):
    """A rendition as it stands in the store, complete: all that a manifest says of it.

    Attributes:
        id: The track's id: that of the rendition, and a digest of all that decides its bytes.
        rendition: What was asked for, with the labels that this release gives it.
        codec_string: RFC 6381, from the init segment's sample entry.
        init_bytes: Size of the init segment; 0 where a form has none.
        timescale: Ticks per second of the segments.
        priming_samples: Audio: samples before the programme's first, dropped by the init segment's edit list.
        segments: All of them, in order.
        loudness: Audio: as measured and set.
        init_sha256: Hex digest of the init segment; that of nothing where a form has none.
        damage: What was damaged in the master, and is concealed in this track.
        kid: Id of the key that the track is encrypted with; empty for a clear track, such as text and thumbnails. The
            release's `Protection` of the track's scheme has the key's name.
        later_kids: Ids of its keys in later periods, where keys change.
        later_inits: Hex digests of the init segments of these periods, whose size is that of the first.
    """

    id: str
    rendition: Rendition
    codec_string: str
    init_bytes: int
    timescale: int
    priming_samples: int
    segments: tuple[Segment, ...]
    loudness: Loudness | None = None
    init_sha256: str = ""
    damage: tuple[Damage, ...] = ()
    kid: str = ""
    later_kids: tuple[str, ...] = ()
    later_inits: tuple[str, ...] = ()

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of its keys, one for each period; empty for a clear track."""
        return (self.kid, *self.later_kids) if self.kid else ()

    @property
    def inits_sha256(self) -> tuple[str, ...]:
        """Hex digests of its init segments, one for each period; empty where a form has none."""
        return (self.init_sha256, *self.later_inits) if self.init_bytes else ()

    def segment_bps(self) -> tuple[float, ...]:
        """Rate of each segment, in bits per second over its own duration."""
        return tuple(8 * s.size_bytes * self.timescale / s.duration_ticks for s in self.segments)

    @property
    def average_bps(self) -> int:
        """Bits of all segments over their duration, rounded up."""
        bits = 8 * sum(s.size_bytes for s in self.segments)
        return -(-bits * self.timescale // sum(s.duration_ticks for s in self.segments))

    @property
    def peak_bps(self) -> int:
        """Rate of the segment with the highest, rounded up (RFC 8216, section 4.3.4.2)."""
        return max(-(-8 * s.size_bytes * self.timescale // s.duration_ticks) for s in self.segments)

    @property
    def total_bytes(self) -> int:
        """Size of the init segments and all segments."""
        return self.init_bytes * (1 + len(self.later_inits)) + sum(s.size_bytes for s in self.segments)


@dataclass(frozen=True, slots=True)
class Copy:
    """Tracks of a release once more, in another scheme, for players that don't play the first one.

    The renditions are those of the first tracks, with the same ids. Text, thumbnails and poster are not copied.

    Attributes:
        protection: The scheme and its keys.
        video: The video tracks that old devices decode, in the order of the first ones.
        audio: The same of sound.
        trick: The same of trick play; empty in ``aes-128``, where no byte range can be decrypted alone.
    """

    protection: Protection
    video: tuple[Track[VideoRendition], ...]
    audio: tuple[Track[AudioRendition], ...]
    trick: tuple[Track[VideoRendition], ...] = ()


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A file whose sound was added to a title.

    Attributes:
        track_index: Number of the programme in the title, see `AudioRendition`.
        file: Where the sound came from.
        stream: Its stream number there.
        start_s: The time in the file at which the picture starts.
    """

    track_index: int
    file: Master
    stream: int
    start_s: Fraction


AnyTrack = Track[VideoRendition] | Track[AudioRendition] | Track[TextRendition]
"""A track that players choose from."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """A title as players see it.

    Attributes:
        title: Catalogue entry.
        release: The id of the release; empty before its manifests are made, since they decide it.
        grid: Where segments lie.
        video: Video tracks, best first within a codec.
        audio: Audio tracks.
        trick: Tracks of one picture for each GOP.
        thumbnails: Sheets of thumbnails; None where there are none.
        text: Tracks of text; programmes without a cue are left out.
        damage: What was damaged or missing in the master, and is concealed here.
        poster: Candidates for the picture that stands for the title; None where there are none.
        light: What the master's numbers mean, which HDR tracks keep.
        master: The file that it was made of; None in releases of before.
        picture_stream: Number of the picture in it.
        protection: How video, audio and trick tracks are encrypted; None for a clear title.
        copies: The same tracks in other schemes.
        sound: How its sound was encoded; None in releases of before.
        audio_files: Where programmes of sound come from that are not in the master.
    """

    title: str
    release: str
    grid: Grid
    video: tuple[Track[VideoRendition], ...]
    audio: tuple[Track[AudioRendition], ...]
    trick: tuple[Track[VideoRendition], ...] = ()
    thumbnails: Track[Thumbnails] | None = None
    text: tuple[Track[TextRendition], ...] = ()
    damage: tuple[Damage, ...] = ()
    poster: Track[Poster] | None = None
    light: Light | None = None
    master: Master | None = None
    picture_stream: int = 0
    protection: Protection | None = None
    copies: tuple[Copy, ...] = ()
    sound: AudioLadder | None = None
    audio_files: tuple[AudioFile, ...] = ()

    @property
    def all_tracks(self) -> tuple[AnyTrack, ...]:
        """The tracks that players choose from: video, trick play, audio, text."""
        return (*self.video, *self.trick, *self.audio, *self.text)


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """What a release's document tells people of a track beside what players need.

    Attributes:
        segments: How many there are.
        size_bytes: Of all segments and the init segment.
        average_bps: Bits of all segments over their duration.
        peak_bps: Rate of the segment with the highest.
    """

    segments: int
    size_bytes: int
    average_bps: int
    peak_bps: int


@dataclass(frozen=True, slots=True)
class Release:
    """The document of a release, for people and tools; servers do without it.

    Attributes:
        presentation: All of it but the segments, which are in the tracks' indexes.
        tracks: What there is of each track, by its id.
        created_at: UTC, ISO 8601.
        submitted_at: When the request came that this release answers: UTC, ISO 8601.
        reason: Why it was made, in a line.
        software: The headend that wrote the manifests.
    """

    presentation: Presentation
    tracks: dict[str, TrackSummary]
    created_at: str
    submitted_at: str
    reason: str
    software: str


@dataclass(frozen=True, slots=True)
class Published:
    """A release that is or was a title's current one.

    Attributes:
        release: Its id.
        published_at: Since when: UTC, ISO 8601.
        submitted_at: When the request came that it answers: UTC, ISO 8601.
        until: When it was replaced or withdrawn; empty while it is current.
    """

    release: str
    published_at: str
    submitted_at: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Current:
    """The pointer at a title's current release.

    Attributes:
        release: Its id; empty while the title is withdrawn.
        published_at: When the pointer was moved: UTC, ISO 8601.
        submitted_at: When the request came that moved it: UTC, ISO 8601. An older request does not move it any more.
        history: What was current before, the latest first.
    """

    release: str
    published_at: str
    submitted_at: str
    history: tuple[Published, ...]
