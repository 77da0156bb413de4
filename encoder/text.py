"""Choose the subtitles and captions to deliver, with language and role, and read their cues.

Input: a probe, sidecars, and the user's choices. Output: programmes of text, a line for each decision, and for each
programme the command that writes its cues to a file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import TypeGuard

import av

from encoder.command import GLOBAL, MASTER, PROGRAM, SCRATCH, source_options
from encoder.languages import standardized
from encoder.subtitles import captions, cues, ttml, webvtt
from encoder.subtitles.captions import Captions
from encoder.subtitles.sidecars import ASS, SRT, TTML, WEBVTT, Sidecar, count_outside
from headend.core import documents
from headend.core.errors import ChunkRejected, ConfigError, MasterError
from headend.core.media import Codec, Cue, Master, Probe, SubtitleTrack, TextRendition, TextRole, TextTrack, VideoTrack
from headend.core.settings import CAPTIONS, TextChoice

SIDECAR = "{sidecar}"
"""Placeholder for a sidecar, or for the captions in the picture; a worker replaces it with the path of its copy."""
PICTURE_CAPTIONS = "cea-608"
"""Codec of captions that are carried in the video stream."""
READABLE = frozenset({"subrip", "ass", "mov_text", "webvtt", "text", "eia_608"})
"""Codecs of text streams that are delivered, by FFmpeg's names."""
PICTURES = frozenset({"hdmv_pgs_subtitle", "dvb_subtitle", "dvd_subtitle", "xsub"})
"""Codecs of bitmap subtitles, which web players can't show."""
UNDETERMINED = "und"


def choose(
    probe: Probe,
    choices: Sequence[TextChoice] = (),
    sidecars: Mapping[str, Sidecar] | None = None,
    embedded: Sequence[str] | None = None,
) -> tuple[TextTrack, ...]:
    """Choose the programmes of text of a title: those of the master, then sidecars.

    Args:
        probe: The probed master; captions in the picture get the language of the default sound.
        choices: Sidecars, and labels for text in the master.
        sidecars: The sidecars that were read, by their URL.
        embedded: The master's text to deliver: stream numbers and ``captions``; None for all.

    Returns:
        Programmes, numbered from 1, with unique names.

    Raises:
        ConfigError: A stream does not exist, is not text or is given twice, or a language is not a language tag. The
            message lists the existing tracks.
    """
    by_number = {track.number: track for track in _embedded(probe)}
    labels = {choice.source: choice for choice in choices if not choice.is_sidecar}
    if twice := [source for source, times in Counter(choice.source for choice in choices).items() if times > 1]:
        raise ConfigError(f"--subtitles: {twice[0]} is given twice; combine both in one")
    names = {CAPTIONS if track.codec == PICTURE_CAPTIONS else str(number) for number, track in by_number.items()}
    if unknown := [source for source in (*labels, *(embedded or ())) if source not in names]:
        option = "--subtitles" if unknown[0] in labels else "--embedded-text"
        raise ConfigError(
            f"{option}: the master has no text {unknown[0]} that can be delivered; it has {_listed(probe)}"
        )
    chosen = []
    for number, track in by_number.items():
        name = CAPTIONS if track.codec == PICTURE_CAPTIONS else str(number)
        if embedded is None or name in embedded:
            chosen.append(_with_labels(track, labels.get(name)))
    for choice in choices:
        if choice.is_sidecar:
            sidecar = (sidecars or {})[choice.source]
            track = TextTrack(
                0, sidecar.codec, None, sidecar.file, UNDETERMINED, "", TextRole.SUBTITLES, sidecar.start_s
            )
            chosen.append(_with_labels(track, choice))
    return tuple(_with_names(chosen))


def describe(
    programmes: Sequence[TextTrack],
    probe: Probe,
    sidecars: Iterable[Sidecar] = (),
    duration_s: Fraction = Fraction(0),
) -> Iterator[str]:
    """Describe the decisions about text, a line for each.

    Args:
        programmes: As returned by `choose`.
        probe: The probed master.
        sidecars: The sidecars that were read.
        duration_s: Duration of the picture.
    """
    for track in programmes:
        source = f"sidecar {track.sidecar.url}" if track.sidecar else f"text {track.index}"
        formats = "WebVTT and IMSC" if track.codec == TTML else "WebVTT"
        if track.codec == PICTURE_CAPTIONS:
            yield (
                f"captions (CEA-608) in the picture → {formats}, {track.language}, {track.role}, named {track.name!r}; "
                "removed from the picture; CEA-708 additions are not delivered"
            )
        else:
            yield f"{source} ({track.codec}) → {formats}, {track.language}, {track.role}, named {track.name!r}"
    delivered = {track.index for track in programmes if track.codec != PICTURE_CAPTIONS}
    for stream in probe.subtitles:
        if stream.codec in PICTURES:
            yield (
                f"text {stream.index} ({stream.codec}) is bitmap subtitles → not delivered; "
                "add a text file with --subtitles"
            )
        elif stream.codec not in READABLE:
            yield (
                f"text {stream.index} ({stream.codec}) can't be read → not delivered; add a text file with --subtitles"
            )
        elif stream.index not in delivered:
            yield f"text {stream.index} left out by --embedded-text"
    if _has_captions(probe.video) and not any(track.codec == PICTURE_CAPTIONS for track in programmes):
        yield "captions (CEA-608) in the picture left out by --embedded-text"
    start_s = probe.video.start_s if probe.video else Fraction(0)
    for stream in probe.subtitles:
        if stream.index in delivered:
            outside_cues = cues.outside(stream.times_ms, start_s=start_s, duration_s=duration_s)
            yield from _describe_outside(f"text {stream.index}", outside_cues)
    for sidecar in sidecars:
        yield from _describe_sidecar(sidecar, duration_s)


def check(programmes: Sequence[TextTrack], probe: Probe, *, start_s: Fraction, duration_s: Fraction) -> None:
    """Reject text streams of a master whose cues are all outside the picture; `sidecars.align` checks sidecars.

    Args:
        programmes: As returned by `choose`.
        probe: The probed master.
        start_s: When the master shows its first frame.
        duration_s: Duration of the picture.

    Raises:
        MasterError: No cue of a programme would be shown.
    """
    by_index = {stream.index: stream for stream in probe.subtitles}
    for track in programmes:
        stream = None if track.sidecar or track.index is None else by_index.get(track.index)
        if stream is None or track.codec == PICTURE_CAPTIONS:
            continue
        outside_cues = cues.outside(stream.times_ms, start_s=start_s, duration_s=duration_s)
        if outside_cues.of and outside_cues.count == outside_cues.of:
            raise _all_outside(track, outside_cues.of, outside_cues.first_ms)


def renditions(programmes: Iterable[TextTrack], labels: Iterable[str] = ()) -> tuple[TextRendition, ...]:
    """The renditions of each programme: WebVTT for HLS and for DASH, and also IMSC if its source is TTML.

    Args:
        programmes: The programmes.
        labels: Suffixes of ids that other renditions of the title already have.
    """
    fitted: list[TextRendition] = []
    taken = {label.lower() for label in labels}
    for track in programmes:
        plain = track.language if track.role is TextRole.SUBTITLES else f"{track.language}-{track.role}"
        numbered = (f"{plain}-{number}" for number in count(2))
        label = next(label for label in chain([plain], numbered) if label.lower() not in taken)
        taken.add(label.lower())
        codecs = (Codec.VTT, Codec.WVTT, *([Codec.IMSC] if track.codec == TTML else []))
        fitted += [
            TextRendition(f"{codec}-{label}", codec, track.number, track.language, track.name, track.role)
            for codec in codecs
        ]
    return tuple(fitted)


def group_by_input(programmes: Sequence[TextTrack]) -> tuple[tuple[TextTrack, ...], ...]:
    """Group programmes by their input: the master's text streams, captions in the picture, and each sidecar."""
    streams = tuple(t for t in programmes if t.sidecar is None and t.codec != PICTURE_CAPTIONS)
    return tuple(filter(None, (streams, *((t,) for t in programmes if t not in streams))))


def command(master: Master, programmes: Sequence[TextTrack]) -> tuple[str, ...]:
    """Build the command that extracts the cues of some programmes.

    Args:
        master: The file; only its location is used.
        programmes: A group from `group_by_input`.

    Returns:
        Arguments with placeholders; empty for TTML and WebVTT sidecars, which are read without FFmpeg.
    """
    first = programmes[0]
    if first.sidecar is not None:
        if first.codec not in (SRT, ASS):
            return ()
        source: tuple[str, ...] = ("-f", first.codec, "-i", SIDECAR)
    elif first.codec == PICTURE_CAPTIONS:
        source = ("-f", "scc", "-i", SIDECAR)
    else:
        source = (*_arguments(source_options(master)), "-i", MASTER)
    return (PROGRAM, *GLOBAL, *source, *(word for track in programmes for word in _output(track)))


def output(scratch: Path, programme: int) -> Path:
    """The file to which a task's command writes the cues of a programme."""
    return scratch / f"text-{programme}.mkv"


def sidecar_path(scratch: Path) -> Path:
    """A worker's copy of a sidecar."""
    return scratch / "sidecar"


def write_captions(found: Captions, scratch: Path) -> None:
    """Write captions that were read from the picture to the files that a task's command and `read` expect."""
    sidecar_path(scratch).write_bytes(captions.to_scenarist(found))
    _captions_path(scratch).write_bytes(documents.write(found))


def _captions_path(scratch: Path) -> Path:
    return scratch / "captions"


def read(
    track: TextTrack, scratch: Path, *, start_s: Fraction, duration_s: Fraction
) -> tuple[tuple[Cue, ...], bytes | None]:
    """Read the cues of a programme from the output of a task's command.

    Args:
        track: The programme.
        scratch: The task's folder.
        start_s: When the picture starts, on the timeline of the programme's source.
        duration_s: Duration of the picture.

    Returns:
        The cues on the title's timeline, and for TTML also the document in IMSC's text profile.

    Raises:
        ChunkRejected: The output can't be read.
        MasterError: All cues are outside the picture.
    """
    document = None
    if track.sidecar and track.codec == TTML:
        data = sidecar_path(scratch).read_bytes()
        source_cues = ttml.cues(ttml.read(data, track.sidecar.url))
        document = ttml.imsc(ttml.read(data, track.sidecar.url), duration_s, start_s=start_s)
    elif track.sidecar and track.codec == WEBVTT:
        source_cues = webvtt.parse(sidecar_path(scratch).read_text(encoding="utf-8")).cues
    else:
        try:
            source_cues = cues.read(output(scratch, track.number))
        except (av.FFmpegError, IndexError) as error:
            raise ChunkRejected(f"the cues of text {track.number} can't be read back", reason=str(error)) from error
    if track.codec == PICTURE_CAPTIONS:
        data = _captions_path(scratch).read_bytes()
        source_cues = captions.restore_times(
            source_cues, documents.read(Captions, data, key="the captions of the picture")
        )
    placed = cues.place_on_timeline(source_cues, start_s=start_s, duration_s=duration_s)
    if source_cues and not placed:
        raise _all_outside(track, len(source_cues), source_cues[0].start_ms)
    return placed, document


def _all_outside(track: TextTrack, count: int, first_ms: int) -> MasterError:
    return MasterError(
        f"all {count} cues of text {track.number} ({track.name}) are outside the picture, the first at "
        f"{cues.format_time(first_ms)}; correct their times, or leave the track out with --embedded-text"
    )


def _describe_sidecar(sidecar: Sidecar, duration_s: Fraction) -> Iterator[str]:
    name = f"sidecar {sidecar.file.url}"
    if sidecar.start_s:
        direction, factor = ("earlier", 1000) if sidecar.start_s > 0 else ("later", -1000)
        shift = cues.format_time(round(sidecar.start_s * factor))
        yield f"{name}: cues are shown {shift} {direction} than the file says"
    if skipped := len(sidecar.skipped_lines):
        blocks, first = ("1 block", "") if skipped == 1 else (f"{skipped:,} blocks", "the first ")
        yield (
            f"{name}: {blocks} can't be read as cues → skipped, {first}at line {sidecar.skipped_lines[0]:,}; "
            f"{len(sidecar.times_ms):,} cues are read"
        )
    yield from _describe_outside(name, count_outside(sidecar, duration_s))


def _describe_outside(name: str, counts: cues.Outside) -> Iterator[str]:
    if counts.count:
        yield (
            f"{name}: {counts.count:,} of {counts.of:,} cues are outside the picture → left out, "
            f"the first at {cues.format_time(counts.first_ms)}"
        )
    if counts.cut:
        yield (
            f"{name}: {counts.cut:,} of {counts.of:,} cues cross the picture's start or end → cut there, "
            f"the first at {cues.format_time(counts.first_cut_ms)}"
        )


def _embedded(probe: Probe) -> Iterator[TextTrack]:
    for stream in probe.subtitles:
        if stream.codec in READABLE:
            yield TextTrack(
                stream.index, stream.codec, stream.index, None, stream.language, stream.title, _role(stream)
            )
    if _has_captions(probe.video):
        sound = next((track.language for track in sorted(probe.audio, key=lambda t: not t.default)), UNDETERMINED)
        # Captions are for the deaf and hard of hearing (47 CFR 79.1).
        yield TextTrack(-1, PICTURE_CAPTIONS, probe.video.index, None, sound, "", TextRole.SDH)


def _has_captions(video: VideoTrack | None) -> TypeGuard[VideoTrack]:
    return video is not None and video.captions


def _role(stream: SubtitleTrack) -> TextRole:
    if "forced" in stream.roles:
        return TextRole.FORCED
    is_sdh = stream.codec == "eia_608" or not {"hearing_impaired", "captions"}.isdisjoint(stream.roles)
    return TextRole.SDH if is_sdh else TextRole.SUBTITLES


def _with_labels(track: TextTrack, choice: TextChoice | None) -> TextTrack:
    if choice is None:
        return track
    return replace(
        track,
        language=track.language if choice.language is None else standardized(choice.language, "--subtitles"),
        role=choice.role or track.role,
        name=track.name if choice.name is None else choice.name,
    )


def _with_names(tracks: Iterable[TextTrack]) -> Iterator[TextTrack]:
    """Number programmes, and give each a unique name: its title, or else its language and role."""
    taken: set[str] = set()
    for number, track in enumerate(tracks, start=1):
        spoken = [] if track.language == UNDETERMINED else [track.language]
        kind = {TextRole.SDH: ["SDH"], TextRole.FORCED: ["forced"]}.get(track.role, [] if spoken else ["Subtitles"])
        name = " ".join(track.name.split())[:80].rstrip() or " ".join([*spoken, *kind])
        unique, suffix = name, 2
        while unique in taken:
            unique, suffix = f"{name} {suffix}", suffix + 1
        taken.add(unique)
        yield replace(track, number=number, name=unique)


def _listed(probe: Probe) -> str:
    streams = [f"{s.index} ({', '.join(filter(None, (s.language, s.codec, s.title)))})" for s in probe.subtitles]
    captions = [f"{CAPTIONS} (CEA-608)"] if _has_captions(probe.video) else []
    return ", ".join([*streams, *captions]) or "none"


def _output(track: TextTrack) -> tuple[str, ...]:
    stream = "s:0" if track.sidecar or track.codec == PICTURE_CAPTIONS else str(track.index)
    return (
        "-map", f"0:{stream}",
        # WebVTT and ASS are copied. Other formats become ASS, since FFmpeg decodes them to ASS.
        "-c:s", "copy" if track.codec in (WEBVTT, ASS) else "ass",
        # Keep the source's times.
        "-avoid_negative_ts", "disabled",
        "-map_metadata", "-1", "-map_chapters", "-1",
        "-f", "matroska", f"{SCRATCH}/text-{track.number}.mkv",
    )  # fmt: skip


def _arguments(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        yield f"-{name}"
        if value is not None:
            yield str(value)
