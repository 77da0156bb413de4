"""Data types of results: receipts of tasks, tracks, presentations and releases."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from headend.core.media.masters import Damage, Light, Master
from headend.core.media.protection import Protection
from headend.core.media.renditions import AudioLadder, AudioRendition, Poster, TextRendition, Thumbnails, VideoRendition
from headend.core.timing import Grid, ceil_div


@dataclass(frozen=True, slots=True)
class Loudness:
    """Loudness of a whole programme in one layout, before coding, and the gain that was applied.

    Attributes:
        layout: ``2.0`` or ``5.1``.
        integrated_lufs: Integrated loudness, ITU-R BS.1770-4; None if nothing exceeds the gate of -70 LUFS.
        range_lu: Loudness range, EBU Tech 3342.
        true_peak_dbtp: Highest true peak of any channel, ITU-R BS.1770-4, annex 2; None for digital silence.
        gain_db: The static gain that was applied.
        limited: Whether a limiter held peaks at the ceiling.
        result_lufs: Integrated loudness after the gain; None like ``integrated_lufs``.
        result_dbtp: True peak after gain and limiter; None like ``true_peak_dbtp``.
        dialnorm_db: Loudness stated in AC-3 and E-AC-3 streams: -31 to -1.
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
        sync: Video only: for each sync frame, the offset of its ``moof`` in the segment, and the number of bytes from
            there to the end of the frame: the byte range that trick play needs.
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
    """A task's result for one track.

    Attributes:
        rendition: Id of the track's rendition.
        init_sha256: Hex digest of the init segment; the same in every chunk of a rendition.
        init_bytes: Size of the init segment; 0 for formats without one.
        timescale: Ticks per second.
        priming_samples: Audio only: samples before the programme's first one; the init segment tells players to drop
            them.
        average_bps: Average rate of the task's segments.
        peak_bps: Rate of the segment with the highest rate.
        segments: In order.
        loudness: Audio only: the loudness before and after encoding.
        track: The track's id.
        window_bps: Video only: the highest rate in any window of this part; see `headend.core.rates.windows`.
        encoded_again: Video only: numbers of the segments that exceeded the cap and were encoded again.
        codec_string: RFC 6381, if the init segment is encrypted as a whole, so that it can't be read; else empty.
        later_inits: Hex digests of the init segments of later periods, which have the size of the first.
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
    """What one task has written so far; stored after everything that it lists.

    A task that is killed while it stores its segments leaves a receipt for the tracks that are complete.

    Attributes:
        task: The task's id.
        chunk: Number of the chunk that it has encoded.
        tracks: The tracks whose segments of this chunk are all stored.
        attempt: Number of the attempt that succeeded, from 1.
        worker: Worker that ran it.
        cpu_s: CPU seconds of the child process.
        wall_s: Seconds from start to end.
        peak_memory_bytes: Peak resident memory of the child process.
        decode_errors: Number of errors from decoders, including those in frames before the chunk, which are not used.
        damage: Damage that was concealed.
        submission: The `TaskContext.submission` of the run that wrote it.
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
    """A complete rendition in the store, with everything that manifests state about it.

    Attributes:
        id: The track's id: that of the rendition, and a digest of everything that determines its bytes.
        rendition: Its rendition, with the labels of this release.
        codec_string: RFC 6381, from the init segment's sample entry.
        init_bytes: Size of the init segment; 0 for formats without one.
        timescale: Ticks per second of the segments.
        priming_samples: Audio only: samples before the programme's first one, which the init segment's edit list skips.
        segments: All segments, in order.
        loudness: Audio only: the loudness before and after encoding.
        init_sha256: Hex digest of the init segment; that of no data for formats without one.
        damage: Damage in the master that this track conceals.
        kid: Id of the track's key; empty for an unencrypted track, such as text and thumbnails. The release's
            `Protection` of the track's scheme has the key's name.
        later_kids: Ids of its keys in later periods.
        later_inits: Hex digests of the init segments of later periods, which have the size of the first.
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
        """Ids of its keys, one per period; empty for a clear track."""
        return (self.kid, *self.later_kids) if self.kid else ()

    @property
    def inits_sha256(self) -> tuple[str, ...]:
        """Hex digests of its init segments, one per period; empty for formats without one."""
        return (self.init_sha256, *self.later_inits) if self.init_bytes else ()

    def segment_bps(self) -> tuple[float, ...]:
        """Rate of each segment, in bits per second over its own duration."""
        return tuple(8 * s.size_bytes * self.timescale / s.duration_ticks for s in self.segments)

    @property
    def average_bps(self) -> int:
        """Mean rate of all segments, rounded up."""
        bits = 8 * sum(s.size_bytes for s in self.segments)
        return ceil_div(bits * self.timescale, sum(s.duration_ticks for s in self.segments))

    @property
    def peak_bps(self) -> int:
        """Rate of the segment with the highest rate, rounded up (RFC 8216, section 4.3.4.2)."""
        return max(ceil_div(8 * s.size_bytes * self.timescale, s.duration_ticks) for s in self.segments)

    @property
    def total_bytes(self) -> int:
        """Size of the init segments and all segments."""
        return self.init_bytes * (1 + len(self.later_inits)) + sum(s.size_bytes for s in self.segments)


@dataclass(frozen=True, slots=True)
class Copy:
    """The tracks of a release in another encryption scheme, for players that don't support the first one.

    The renditions and their ids are those of the first tracks. Text, thumbnails and poster are not copied.

    Attributes:
        protection: The scheme and its keys.
        video: The video tracks that old devices decode, in the order of the first tracks.
        audio: The same for sound.
        trick: The same for trick play; empty for ``aes-128``, where byte ranges can't be decrypted on their own.
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
        file: The file.
        stream: Stream number of the sound in the file.
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
        release: The release's id; empty before its manifests are made, since the id is derived from them.
        grid: Segment boundaries.
        video: Video tracks, best first within a codec.
        audio: Audio tracks.
        trick: Trick play tracks, with one picture per GOP.
        thumbnails: Sheets of thumbnails; None if there are none.
        text: Text tracks; programmes without cues are left out.
        damage: Damage in the master, including missing frames, that is concealed here.
        poster: Candidates for the poster; None if there are none.
        light: The master's light values, which HDR tracks keep.
        master: The file that it was made from; None in old releases.
        picture_stream: Number of the picture in the master.
        protection: Encryption of video, audio and trick play tracks; None for a clear title.
        copies: The same tracks in other schemes.
        sound: How the sound was encoded; None in old releases.
        audio_files: Sources of sound programmes that are not in the master.
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
        """Tracks that players choose from: video, trick play, audio, text."""
        return (*self.video, *self.trick, *self.audio, *self.text)


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """Statistics of a track in a release's document.

    Attributes:
        segments: Number of segments.
        size_bytes: Size of all segments and the init segment.
        average_bps: Mean rate of all segments.
        peak_bps: Rate of the segment with the highest rate.
    """

    segments: int
    size_bytes: int
    average_bps: int
    peak_bps: int


@dataclass(frozen=True, slots=True)
class Release:
    """The description of a release, for people and tools; servers don't need it.

    Attributes:
        presentation: The presentation without its segments, which are in the tracks' indexes.
        tracks: Statistics of each track, by id.
        created_at: UTC, ISO 8601.
        submitted_at: When its request was submitted: UTC, ISO 8601.
        reason: Why it was made, in one line.
        software: Version of headend that wrote the manifests.
    """

    presentation: Presentation
    tracks: dict[str, TrackSummary]
    created_at: str
    submitted_at: str
    reason: str
    software: str


@dataclass(frozen=True, slots=True)
class Published:
    """A release that is or was the title's current one.

    Attributes:
        release: Its id.
        published_at: When it was published: UTC, ISO 8601.
        submitted_at: When its request was submitted: UTC, ISO 8601.
        until: When it was replaced or withdrawn; empty while it is current.
    """

    release: str
    published_at: str
    submitted_at: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Current:
    """The pointer to a title's current release.

    Attributes:
        release: Its id; empty while the title is withdrawn.
        published_at: When the pointer was last changed: UTC, ISO 8601.
        submitted_at: When the request for that change was submitted: UTC, ISO 8601. Older requests are ignored.
        history: Releases that were current before, the latest first.
    """

    release: str
    published_at: str
    submitted_at: str
    history: tuple[Published, ...]
