"""Text: which subtitles and captions are delivered, in which language and role, and how their cues are read.

Comes in: what a probe has found, sidecars, and what a person chose. Goes out: programmes of text, a line for each
decision, and for each programme the command that leaves its cues in a file.
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
from encoder.subtitles.sidecars import ASS, SRT, TTML, WEBVTT, Sidecar, outside
from headend.core import documents
from headend.core.errors import ChunkRejected, ConfigError, MasterError
from headend.core.media import Codec, Cue, Master, Probe, SubtitleTrack, TextRendition, TextRole, TextTrack, VideoTrack
from headend.core.settings import CAPTIONS, TextChoice

SIDECAR = "{sidecar}"
"""Stands for a sidecar's text, or for captions that were read from the picture; a worker puts the path of its copy
there."""
PICTURE_CAPTIONS = "cea-608"
"""Codec of captions that lie beside the picture's frames."""
READABLE = frozenset({"subrip", "ass", "mov_text", "webvtt", "text", "eia_608"})
"""Codecs of streams, by FFmpeg's names, whose text is delivered."""
PICTURES = frozenset({"hdmv_pgs_subtitle", "dvb_subtitle", "dvd_subtitle", "xsub"})
"""Codecs that hold pictures of text, which only their own players can show."""
UNDETERMINED = "und"


def choose(
    probe: Probe,
    choices: Sequence[TextChoice] = (),
    sidecars: Mapping[str, Sidecar] | None = None,
    embedded: Sequence[str] | None = None,
) -> tuple[TextTrack, ...]:
    """Settle the programmes of text of a title: what the master has, then sidecars.

    Args:
        probe: Of the master; captions in the picture are taken to be in the language of the sound that plays unasked.
        choices: Sidecars, and what a person says of text in the master.
        sidecars: What was seen of each sidecar, by its address.
        embedded: What is taken of the master's text: stream numbers and ``captions``; None for all.

    Returns:
        Programmes, numbered from 1, with unique names.

    Raises:
        ConfigError: A stream is not there, is no text or is named twice, or a language is no language tag. The message
            names the tracks that there are.
    """
    there = {track.number: track for track in _embedded(probe)}
    labels = {choice.source: choice for choice in choices if not choice.is_sidecar}
    if twice := [source for source, times in Counter(choice.source for choice in choices).items() if times > 1]:
        raise ConfigError(f"--subtitles: {twice[0]} is given twice; combine both in one")
    names = {CAPTIONS if track.codec == PICTURE_CAPTIONS else str(number) for number, track in there.items()}
    if strange := [source for source in (*labels, *(embedded or ())) if source not in names]:
        option = "--subtitles" if strange[0] in labels else "--embedded-text"
        raise ConfigError(
            f"{option}: the master has no text {strange[0]} that can be delivered; it has {_listed(probe)}"
        )
    chosen = []
    for number, track in there.items():
        name = CAPTIONS if track.codec == PICTURE_CAPTIONS else str(number)
        if embedded is None or name in embedded:
            chosen.append(_relabelled(track, labels.get(name)))
    for choice in choices:
        if choice.is_sidecar:
            beside = (sidecars or {})[choice.source]
            plain = TextTrack(0, beside.codec, None, beside.file, UNDETERMINED, "", TextRole.SUBTITLES, beside.start_s)
            chosen.append(_relabelled(plain, choice))
    return tuple(_named(chosen))


def describe(
    programmes: Sequence[TextTrack],
    probe: Probe,
    sidecars: Iterable[Sidecar] = (),
    duration_s: Fraction = Fraction(0),
) -> Iterator[str]:
    """Say what is done to text, one line for each decision.

    Args:
        programmes: As `choose` returns them.
        probe: The master.
        sidecars: What was seen of sidecars.
        duration_s: How long the picture lasts.
    """
    for track in programmes:
        where = f"sidecar {track.sidecar.url}" if track.sidecar else f"text {track.index}"
        made = "WebVTT and IMSC" if track.codec == TTML else "WebVTT"
        if track.codec == PICTURE_CAPTIONS:
            yield (
                f"captions (CEA-608) in the picture → {made}, {track.language}, {track.role}, named {track.name!r}; "
                "taken out of the picture; what CEA-708 adds is not delivered"
            )
        else:
            yield f"{where} ({track.codec}) → {made}, {track.language}, {track.role}, named {track.name!r}"
    taken = {track.index for track in programmes if track.codec != PICTURE_CAPTIONS}
    for stream in probe.subtitles:
        if stream.codec in PICTURES:
            yield f"text {stream.index} ({stream.codec}) is pictures of text → not delivered; give it by --subtitles"
        elif stream.codec not in READABLE:
            yield f"text {stream.index} ({stream.codec}) can't be read → not delivered; give it by --subtitles"
        elif stream.index not in taken:
            yield f"text {stream.index} left out by --embedded-text"
    if _has_captions(probe.video) and not any(track.codec == PICTURE_CAPTIONS for track in programmes):
        yield "captions (CEA-608) in the picture left out by --embedded-text"
    start_s = probe.video.start_s if probe.video else Fraction(0)
    for stream in probe.subtitles:
        if stream.index in taken:
            there = cues.outside(stream.times_ms, start_s=start_s, duration_s=duration_s)
            yield from _told_of_outside(f"text {stream.index}", there)
    for sidecar in sidecars:
        yield from _told_of(sidecar, duration_s)


def check(programmes: Sequence[TextTrack], probe: Probe, *, start_s: Fraction, duration_s: Fraction) -> None:
    """Refuse text of a master that lies outside of the picture as a whole; of sidecars, `sidecars.aligned` does.

    Args:
        programmes: As `choose` returns them.
        probe: The master.
        start_s: When it shows its first frame.
        duration_s: How long the picture lasts.

    Raises:
        MasterError: No cue of a programme would be shown.
    """
    by_index = {stream.index: stream for stream in probe.subtitles}
    for track in programmes:
        stream = None if track.sidecar or track.index is None else by_index.get(track.index)
        if stream is None or track.codec == PICTURE_CAPTIONS:
            continue
        there = cues.outside(stream.times_ms, start_s=start_s, duration_s=duration_s)
        if there.of and there.count == there.of:
            raise _all_outside(track, there.of, there.first_ms)


def renditions(programmes: Iterable[TextTrack], labels: Iterable[str] = ()) -> tuple[TextRendition, ...]:
    """The forms in which each programme is made: WebVTT twice, for HLS and for DASH, and of TTML also IMSC.

    Args:
        programmes: The programmes.
        labels: Ends of ids that other renditions of the title have.
    """
    made: list[TextRendition] = []
    taken = {label.lower() for label in labels}
    for track in programmes:
        usual = track.language if track.role is TextRole.SUBTITLES else f"{track.language}-{track.role}"
        numbered = (f"{usual}-{number}" for number in count(2))
        label = next(label for label in chain([usual], numbered) if label.lower() not in taken)
        taken.add(label.lower())
        codecs = (Codec.VTT, Codec.WVTT, *([Codec.IMSC] if track.codec == TTML else []))
        made += [
            TextRendition(f"{codec}-{label}", codec, track.number, track.language, track.name, track.role)
            for codec in codecs
        ]
    return tuple(made)


def grouped(programmes: Sequence[TextTrack]) -> tuple[tuple[TextTrack, ...], ...]:
    """What is read together: all streams of the master; captions, that lie in packets of the picture; each sidecar."""
    streams = tuple(t for t in programmes if t.sidecar is None and t.codec != PICTURE_CAPTIONS)
    return tuple(filter(None, (streams, *((t,) for t in programmes if t not in streams))))


def command(master: Master, programmes: Sequence[TextTrack]) -> tuple[str, ...]:
    """Build the command that leaves the cues of programmes that are read together.

    Args:
        master: The file; only where it lies matters here.
        programmes: As `grouped` puts them together.

    Returns:
        Arguments with placeholders; nothing for sidecars of TTML and WebVTT, which FFmpeg does not read.
    """
    first = programmes[0]
    if first.sidecar is not None:
        if first.codec not in (SRT, ASS):
            return ()
        source: tuple[str, ...] = ("-f", first.codec, "-i", SIDECAR)
    elif first.codec == PICTURE_CAPTIONS:
        source = ("-f", "scc", "-i", SIDECAR)
    else:
        source = (*_words(source_options(master)), "-i", MASTER)
    return (PROGRAM, *GLOBAL, *source, *(word for track in programmes for word in _output(track)))


def output(scratch: Path, programme: int) -> Path:
    """Where a task's command leaves the cues of a programme."""
    return scratch / f"text-{programme}.mkv"


def sidecar_path(scratch: Path) -> Path:
    """Where a worker puts its copy of a sidecar."""
    return scratch / "sidecar"


def lay_captions(found: Captions, scratch: Path) -> None:
    """Put captions that were read from the picture where a task's command, and then `read`, find them."""
    sidecar_path(scratch).write_bytes(captions.scenarist(found))
    _captions_path(scratch).write_bytes(documents.write(found))


def _captions_path(scratch: Path) -> Path:
    return scratch / "captions"


def read(
    track: TextTrack, scratch: Path, *, start_s: Fraction, duration_s: Fraction
) -> tuple[tuple[Cue, ...], bytes | None]:
    """Read what a task's command has left of a programme.

    Args:
        track: The programme.
        scratch: The task's folder.
        start_s: When the picture starts, in the time of the programme's source.
        duration_s: How long the picture lasts.

    Returns:
        The cues on the title's timeline and, of TTML, the document in IMSC's text profile.

    Raises:
        ChunkRejected: The command has left nothing that can be read.
        MasterError: There are cues, but none while the picture lasts.
    """
    document = None
    if track.sidecar and track.codec == TTML:
        data = sidecar_path(scratch).read_bytes()
        found = ttml.cues(ttml.read(data, track.sidecar.url))
        document = ttml.imsc(ttml.read(data, track.sidecar.url), duration_s, start_s=start_s)
    elif track.sidecar and track.codec == WEBVTT:
        found = webvtt.parse(sidecar_path(scratch).read_text(encoding="utf-8")).cues
    else:
        try:
            found = cues.read(output(scratch, track.number))
        except (av.FFmpegError, IndexError) as error:
            raise ChunkRejected(f"the cues of text {track.number} can't be read back", reason=str(error)) from error
    if track.codec == PICTURE_CAPTIONS:
        there = _captions_path(scratch).read_bytes()
        found = captions.timed(found, documents.read(Captions, there, key="the captions of the picture"))
    placed = cues.placed(found, start_s=start_s, duration_s=duration_s)
    if found and not placed:
        raise _all_outside(track, len(found), found[0].start_ms)
    return placed, document


def _all_outside(track: TextTrack, count: int, first_ms: int) -> MasterError:
    return MasterError(
        f"all {count} cues of text {track.number} ({track.name}) lie outside of the picture, the first at "
        f"{cues.clock(first_ms)}; mend their times, or leave the track out with --embedded-text"
    )


def _told_of(sidecar: Sidecar, duration_s: Fraction) -> Iterator[str]:
    name = f"sidecar {sidecar.file.url}"
    if sidecar.start_s:
        way, time_ms = ("earlier", 1000) if sidecar.start_s > 0 else ("later", -1000)
        yield f"{name}: cues are shown {cues.clock(round(sidecar.start_s * time_ms))} {way} than the file says"
    if skipped := len(sidecar.skipped_lines):
        blocks, first = ("1 block", "") if skipped == 1 else (f"{skipped:,} blocks", "the first ")
        yield (
            f"{name}: {blocks} can't be read as cues → skipped, {first}at line {sidecar.skipped_lines[0]:,}; "
            f"{len(sidecar.times_ms):,} cues are read"
        )
    yield from _told_of_outside(name, outside(sidecar, duration_s))


def _told_of_outside(name: str, there: cues.Outside) -> Iterator[str]:
    if there.count:
        yield (
            f"{name}: {there.count:,} of {there.of:,} cues lie outside of the picture → left out, "
            f"the first at {cues.clock(there.first_ms)}"
        )
    if there.cut:
        yield (
            f"{name}: {there.cut:,} of {there.of:,} cues reach over the picture's start or end → cut there, "
            f"the first at {cues.clock(there.first_cut_ms)}"
        )


def _embedded(probe: Probe) -> Iterator[TextTrack]:
    for stream in probe.subtitles:
        if stream.codec in READABLE:
            yield TextTrack(
                stream.index, stream.codec, stream.index, None, stream.language, stream.title, _role(stream)
            )
    if _has_captions(probe.video):
        sound = next((track.language for track in sorted(probe.audio, key=lambda t: not t.default)), UNDETERMINED)
        # Captions are made for those who do not hear (47 CFR 79.1).
        yield TextTrack(-1, PICTURE_CAPTIONS, probe.video.index, None, sound, "", TextRole.SDH)


def _has_captions(video: VideoTrack | None) -> TypeGuard[VideoTrack]:
    return video is not None and video.captions


def _role(stream: SubtitleTrack) -> TextRole:
    if "forced" in stream.roles:
        return TextRole.FORCED
    heard_less = stream.codec == "eia_608" or not {"hearing_impaired", "captions"}.isdisjoint(stream.roles)
    return TextRole.SDH if heard_less else TextRole.SUBTITLES


def _relabelled(track: TextTrack, choice: TextChoice | None) -> TextTrack:
    if choice is None:
        return track
    return replace(
        track,
        language=track.language if choice.language is None else standardized(choice.language, "--subtitles"),
        role=choice.role or track.role,
        name=track.name if choice.name is None else choice.name,
    )


def _named(tracks: Iterable[TextTrack]) -> Iterator[TextTrack]:
    """Number programmes, and give those without a title a name that says what they are; all differ."""
    taken: set[str] = set()
    for number, track in enumerate(tracks, start=1):
        spoken = [] if track.language == UNDETERMINED else [track.language]
        kind = {TextRole.SDH: ["SDH"], TextRole.FORCED: ["forced"]}.get(track.role, [] if spoken else ["Subtitles"])
        name = " ".join(track.name.split())[:80].rstrip() or " ".join([*spoken, *kind])
        unique, again = name, 2
        while unique in taken:
            unique, again = f"{name} {again}", again + 1
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
        # WebVTT and ASS keep all they say; all else becomes events of ASS, in which FFmpeg's decoders speak.
        "-c:s", "copy" if track.codec in (WEBVTT, ASS) else "ass",
        # Times as they are, whatever comes first.
        "-avoid_negative_ts", "disabled",
        "-map_metadata", "-1", "-map_chapters", "-1",
        "-f", "matroska", f"{SCRATCH}/text-{track.number}.mkv",
    )  # fmt: skip


def _words(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        yield f"-{name}"
        if value is not None:
            yield str(value)
