"""Comparing a release with its master."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import comparing, sandbox
from headend.core import documents, layout
from headend.core.errors import HeadendError, MasterError, PackagingError, StorageError
from headend.core.keys import ContentKey
from headend.core.media import (
    AudioFile,
    AudioRendition,
    Master,
    Presentation,
    Probe,
    Release,
    Schedule,
    Track,
    VideoRendition,
)
from headend.core.media.protection import WHOLE_TITLE
from headend.core.settings import PictureChoice
from headend.core.storage import Store, masters
from packager import conformance
from packager.conformance import Finding
from packager.encrypted_tracks import init_of_period

SAMPLES = 6
"""Number of segments to compare of a longer rendition, if the comparison is not deep."""
SHORT_SEGMENTS = 12
"""All segments of a rendition are compared if it has no more than this."""

ComparedTrack = Track[VideoRendition] | Track[AudioRendition]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        findings: Differences from the master.
        segments: Number of segments that were compared.
        not_compared: Why nothing was compared; empty if something was.
    """

    findings: tuple[Finding, ...] = ()
    segments: int = 0
    not_compared: str = ""


def compare(
    store: Store,
    title: str,
    release: str,
    endpoint_url: str | None,
    *,
    deep: bool,
    is_stopped: Callable[[], bool] = lambda: False,
    keys: Mapping[str, ContentKey] | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Comparison:
    """Compare pictures and sound of a release with those of its master at the same times.

    Args:
        store: The store with the release.
        title: Catalogue entry.
        release: The release's id.
        endpoint_url: S3 endpoint of the master.
        deep: Whether to compare every segment. Otherwise, samples are compared of the smallest video rendition and of
            one rendition of each sound programme, and the segments after gaps and overlaps of the master's sound.
        is_stopped: Returns whether the comparison is cancelled; called before each segment.
        keys: The keys of encrypted tracks, by their ids.
        on_progress: Called with the number of compared segments and of all that are known so far.
    """
    key = layout.release_document(title, release)
    try:
        document = documents.read(Release, store.get(key), key=key)
    except StorageError:
        return Comparison(not_compared="the release's document can't be read")
    presentation = document.presentation
    if presentation.protection is not None and not keys:
        return Comparison(not_compared=conformance.NO_KEYS)
    if presentation.master is None:
        return Comparison(not_compared="the release does not record its master")
    audio_files = {file.track_index: file for file in presentation.audio_files}
    tracks = [(track, _audio_file_of(audio_files, track)) for track in _tracks_to_compare(presentation, deep=deep)]
    from_master = [track for track, file in tracks if file is None]
    reader = _SegmentReader(
        store, title, keys or {}, presentation.protection.schedule if presentation.protection else WHOLE_TITLE
    )
    progress = _Progress(on_progress, is_stopped)
    parts = [
        _with_master(reader, document, presentation.master, endpoint_url, from_master, progress, deep=deep),
        *(
            _with_audio_file(reader, document, track, file, endpoint_url, progress, deep=deep)
            for track, file in tracks
            if file
        ),
    ]
    return Comparison(
        tuple(finding for part in parts for finding in part.findings),
        sum(part.segments for part in parts),
        next((part.not_compared for part in parts if part.not_compared), ""),
    )


@dataclass(slots=True)
class _Progress:
    """Counts segments while they are compared.

    Attributes:
        on_progress: Called with the number of compared segments and of all that are known so far.
        is_stopped: Returns whether the comparison is cancelled.
    """

    on_progress: Callable[[int, int], None]
    is_stopped: Callable[[], bool]
    done: int = 0
    total: int = 0

    def add(self, count: int) -> None:
        """Add segments that will be compared."""
        self.total += count
        self.on_progress(self.done, self.total)

    def each(self, numbers: Sequence[int]) -> Iterator[int]:
        """Yield the numbers of segments, and count each once it has been compared; end early if stopped."""
        for number in numbers:
            if self.is_stopped():
                return
            yield number
            self.done += 1
            self.on_progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _SegmentReader:
    """Reads segments of a release, decrypted.

    Attributes:
        store: The store with the release.
        title: Catalogue entry.
        keys: The keys of encrypted tracks, by their ids.
        schedule: When encryption begins and keys change.
    """

    store: Store
    title: str
    keys: Mapping[str, ContentKey]
    schedule: Schedule

    def init(self, track: ComparedTrack) -> bytes:
        return self.store.get(layout.track_init(self.title, track.id))

    def read(self, track: ComparedTrack, init: bytes, number: int) -> bytes:
        """Read a segment preceded by its init segment; ``init`` is that of the first period."""
        data = self.store.get(layout.track_segment(self.title, track.id, number))
        if not track.kid:
            return init + data
        from packager.decrypting import decrypted

        key = self.keys[track.kids[self.schedule.period(number) - 1]]
        return b"".join(decrypted(init_of_period(init, key.name), data, key))


def _with_master(
    reader: _SegmentReader,
    document: Release,
    master: Master,
    endpoint_url: str | None,
    tracks: Sequence[ComparedTrack],
    progress: _Progress,
    *,
    deep: bool,
) -> Comparison:
    presentation = document.presentation
    try:
        masters.check_unchanged(master, endpoint_url)
    except HeadendError as error:
        return Comparison(not_compared=error.message)
    try:
        with masters.opened(master, endpoint_url) as source:
            choice = PictureChoice(video=presentation.picture_stream)
            probe = sandbox.probe(master, source.url, choice, progress=source.progress)
            zero_s = comparing.first_frame_s(master, source.url, presentation.picture_stream)
            wanted = [
                _segments_to_compare(document.tracks[track.id].segments, presentation, probe, deep=deep)
                for track in tracks
            ]
            segments = sum(map(len, wanted))
            progress.add(segments)
            findings: list[Finding] = []
            for track, numbers in zip(tracks, wanted, strict=True):
                is_sound = isinstance(track.rendition, AudioRendition)
                delay_s = probe.video.decoder_delay_s if probe.video and is_sound else 0
                start_s = zero_s - delay_s
                findings += list(
                    _differences(reader, presentation, master, source.url, track, numbers, start_s, progress)
                )
    except MasterError as error:
        key = layout.release_document(presentation.title, presentation.release)
        return Comparison((Finding(key, f"its master can't be used: {error.message}"),))
    return Comparison(tuple(findings), segments)


def _with_audio_file(
    reader: _SegmentReader,
    document: Release,
    track: ComparedTrack,
    file: AudioFile,
    endpoint_url: str | None,
    progress: _Progress,
    *,
    deep: bool,
) -> Comparison:
    """Compare added sound with the file that it came from."""
    presentation, count = document.presentation, document.tracks[track.id].segments
    is_complete = deep or count <= SHORT_SEGMENTS
    numbers = list(range(1, count + 1)) if is_complete else comparing.segments_to_compare(count, SAMPLES)
    try:
        masters.check_unchanged(file.file, endpoint_url)
        with masters.opened(file.file, endpoint_url) as source:
            progress.add(len(numbers))
            found = _differences(
                reader, presentation, file.file, source.url, track, numbers, file.start_s, progress, file.stream
            )
            return Comparison(tuple(found), len(numbers))
    except HeadendError as error:
        return Comparison(not_compared=error.message)


def _audio_file_of(audio_files: Mapping[int, AudioFile], track: ComparedTrack) -> AudioFile | None:
    """Return the file that a track's sound was added from; None if it is from the master."""
    rendition = track.rendition
    return audio_files.get(rendition.track_index) if isinstance(rendition, AudioRendition) else None


def _tracks_to_compare(presentation: Presentation, *, deep: bool) -> Sequence[ComparedTrack]:
    if deep:
        return (*presentation.video, *presentation.audio)
    smallest = min(presentation.video, key=lambda track: track.rendition.width_px * track.rendition.height_px)
    programmes = {track.rendition.track_index: track for track in reversed(presentation.audio)}
    return smallest, *programmes.values()


def _segments_to_compare(count: int, presentation: Presentation, probe: Probe, *, deep: bool) -> list[int]:
    if deep or count <= SHORT_SEGMENTS:
        return list(range(1, count + 1))
    zero_s = probe.video.start_s if probe.video else Fraction(0)
    length_s = presentation.grid.segment_frames / presentation.grid.frame_rate
    timelines = [part.timeline for programme in probe.audio for part in programme.parts or (programme,)]
    breaks = [gap.end_s for line in timelines if line for gap in (*line.gaps(), *line.overlaps())]
    # Three segments after each break, since a silent segment shows no offset.
    after_breaks = [1 + later + int((at_s - zero_s) / length_s) for at_s in breaks[:SAMPLES] for later in range(3)]
    return comparing.segments_to_compare(count, SAMPLES, after_breaks)


def _differences(
    reader: _SegmentReader,
    presentation: Presentation,
    master: Master,
    url: str,
    track: ComparedTrack,
    numbers: Sequence[int],
    zero_s: Fraction,
    progress: _Progress,
    stream: int | None = None,
) -> Iterator[Finding]:
    init = reader.init(track)
    for number in progress.each(numbers):
        key = layout.track_segment(presentation.title, track.id, number)
        with TemporaryDirectory(prefix="headend-") as folder:
            path = Path(folder) / "piece.mp4"
            try:
                path.write_bytes(reader.read(track, init, number))
            except (StorageError, PackagingError):
                continue  # `packager.conformance` reports it
            rendition = track.rendition
            if isinstance(rendition, AudioRendition):
                piece = comparing.Piece(path, rendition.track_index if stream is None else stream)
                wrong = comparing.of_sound(master, url, piece, zero_s)
            else:
                wrong = comparing.of_picture(master, url, comparing.Piece(path, presentation.picture_stream), zero_s)
        if wrong:
            yield Finding(key, wrong)
