"""Comparing a release with its master."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

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
from headend.core.process import available_cores
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
    audio_files: dict[int | None, AudioFile] = {file.track_index: file for file in presentation.audio_files}
    from_master: list[ComparedTrack] = []
    from_file: dict[int | None, list[ComparedTrack]] = {}
    for track in _tracks_to_compare(presentation, deep=deep):
        index = track.rendition.track_index if isinstance(track.rendition, AudioRendition) else None
        if index in audio_files:
            from_file.setdefault(index, []).append(track)
        else:
            from_master.append(track)
    reader = _SegmentReader(
        store, title, keys or {}, presentation.protection.schedule if presentation.protection else WHOLE_TITLE
    )
    progress = _Progress(on_progress, is_stopped)
    parts = [
        _with_master(reader, document, presentation.master, endpoint_url, from_master, progress, deep=deep),
        *(
            _with_audio_file(reader, document, tracks, audio_files[index], endpoint_url, progress, deep=deep)
            for index, tracks in from_file.items()
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
    _lock: Lock = field(default_factory=Lock)

    def add(self, count: int) -> None:
        """Add segments that will be compared."""
        self.total += count
        self.on_progress(self.done, self.total)

    def count(self) -> None:
        """Count a segment that has been compared."""
        with self._lock:
            self.done += 1
            self.on_progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A track, and the stream that it is compared with.

    Attributes:
        track: The track.
        numbers: Numbers of the segments to compare.
        stream: Number of the stream in its file.
        zero_s: When the file shows the film's first frame.
    """

    track: ComparedTrack
    numbers: Sequence[int]
    stream: int
    zero_s: Fraction


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
            delay_s = probe.video.decoder_delay_s if probe.video else Fraction(0)

            def pair(track: ComparedTrack) -> _Pair:
                numbers = _segments_to_compare(document.tracks[track.id].segments, presentation, probe, deep=deep)
                if isinstance(track.rendition, AudioRendition):
                    return _Pair(track, numbers, track.rendition.track_index, zero_s - delay_s)
                return _Pair(track, numbers, presentation.picture_stream, zero_s)

            pairs = [pair(track) for track in tracks]
            with closing(comparing.Reference(master, source.url)) as reference:
                findings = _differences(reader, presentation.title, pairs, reference, progress)
    except MasterError as error:
        key = layout.release_document(presentation.title, presentation.release)
        return Comparison((Finding(key, f"its master can't be used: {error.message}"),))
    return Comparison(findings, sum(len(pair.numbers) for pair in pairs))


def _with_audio_file(
    reader: _SegmentReader,
    document: Release,
    tracks: Sequence[ComparedTrack],
    file: AudioFile,
    endpoint_url: str | None,
    progress: _Progress,
    *,
    deep: bool,
) -> Comparison:
    """Compare added sound with the file that it came from."""

    def pair(track: ComparedTrack) -> _Pair:
        count = document.tracks[track.id].segments
        is_complete = deep or count <= SHORT_SEGMENTS
        numbers = range(1, count + 1) if is_complete else comparing.segments_to_compare(count, SAMPLES)
        return _Pair(track, numbers, file.stream, file.start_s)

    pairs = [pair(track) for track in tracks]
    try:
        masters.check_unchanged(file.file, endpoint_url)
        with (
            masters.opened(file.file, endpoint_url) as source,
            closing(comparing.Reference(file.file, source.url)) as reference,
        ):
            findings = _differences(reader, document.presentation.title, pairs, reference, progress)
    except HeadendError as error:
        return Comparison(not_compared=error.message)
    return Comparison(findings, sum(len(pair.numbers) for pair in pairs))


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
    title: str,
    pairs: Sequence[_Pair],
    reference: comparing.Reference,
    progress: _Progress,
) -> tuple[Finding, ...]:
    """Compare segments of tracks with a file, in order of time, so that the file is read once for all tracks."""
    inits = [reader.init(pair.track) for pair in pairs]
    pieces = sorted((number, place) for place, pair in enumerate(pairs) for number in pair.numbers)
    progress.add(len(pieces))

    def difference(piece: tuple[int, int]) -> tuple[int, int, Finding] | None:
        if progress.is_stopped():
            return None
        number, place = piece
        try:
            data = reader.read(pairs[place].track, inits[place], number)
        except (StorageError, PackagingError):
            wrong = ""  # `packager.conformance` reports it
        else:
            wrong = _difference(pairs[place], data, reference)
        progress.count()
        key = layout.track_segment(title, pairs[place].track.id, number)
        return (place, number, Finding(key, wrong)) if wrong else None

    found: list[tuple[int, int, Finding]] = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for _, simultaneous in groupby(pieces, key=itemgetter(0)):
            found += filter(None, pool.map(difference, simultaneous))
    return tuple(finding for *_, finding in sorted(found, key=itemgetter(0, 1)))


def _difference(pair: _Pair, data: bytes, reference: comparing.Reference) -> str:
    with TemporaryDirectory(prefix="headend-") as folder:
        path = Path(folder) / "piece.mp4"
        path.write_bytes(data)
        piece = comparing.Piece(path, pair.stream)
        if isinstance(pair.track.rendition, AudioRendition):
            return reference.compare_sound(piece, pair.zero_s)
        return reference.compare_picture(piece, pair.zero_s)
