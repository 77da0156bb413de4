"""Choose the programmes of sound to deliver: the master's tracks, how they are joined, their languages and roles.

Input: the tracks of a probe, and the user's choices. Output: programmes, exactly one of them the default, and a line
for each decision.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count

from encoder.languages import standardized
from headend.core.errors import ConfigError
from headend.core.media import AudioPart, AudioRole, AudioTrack, Probe
from headend.core.media.speakers import ASSUMED
from headend.core.settings import AudioChoice, Channel

DISPOSITIONS: Mapping[AudioRole, str] = {
    AudioRole.ORIGINAL: "original",
    AudioRole.DUB: "dub",
    AudioRole.COMMENTARY: "comment",
    AudioRole.DESCRIPTION: "visual_impaired",
    AudioRole.HEARING_IMPAIRED: "hearing_impaired",
}
"""FFmpeg's disposition of each role in a master; main and alternate need none."""
LAYOUTS: Mapping[int, str] = {2: "stereo", 6: "5.1", 8: "7.1"}
"""The layouts of joined streams, by their number of channels."""

_USUAL = frozenset({"mono", "stereo", "5.1", "5.1(side)"})
"""Layouts that are so common that no decision is reported for them."""
_ROLES = {disposition: role for role, disposition in DISPOSITIONS.items()} | {"descriptions": AudioRole.DESCRIPTION}
_NAMES: Mapping[AudioRole, str] = {
    AudioRole.COMMENTARY: "commentary",
    AudioRole.DESCRIPTION: "audio description",
    AudioRole.HEARING_IMPAIRED: "clear speech",
}
"""Roles that must be part of a programme's name, since listeners look for them (Apple, HLS Authoring Specification,
2.14)."""
_CODEC_FRAME_S = Fraction(1, 20)
"""Offsets from the start and end of the picture that are smaller come from codec frames and containers, and are not
reported."""


def choose(tracks: Sequence[AudioTrack], choices: Sequence[AudioChoice] = ()) -> tuple[AudioTrack, ...]:
    """Choose the programmes of a title.

    Args:
        tracks: The master's tracks of sound.
        choices: The user's choices, in the order of the programmes; empty for every track as it is.

    Returns:
        The programmes. Exactly one is the default: the one chosen as main, or else the master's default, or else the
        first one that is neither a commentary nor made for an impairment.

    Raises:
        ConfigError: A chosen stream does not exist or is chosen twice, streams can't be joined, a language is not a
            language tag, or there are two mains. The message lists the existing tracks.
    """
    by_index = {track.index: track for track in tracks}
    sources = [source for choice in choices for source in choice.streams]
    for source in sources:
        _check_exists(source, by_index, tracks)
    whole_streams = {source for source in sources if isinstance(source, int)}
    used = Counter(sources) + Counter(
        source.stream for source in sources if isinstance(source, Channel) and source.stream in whole_streams
    )
    if twice := [source for source, times in used.items() if times > 1]:
        raise ConfigError(f"--audio: {_kind(twice[0])} {twice[0]} is chosen twice; each can be in one programme only")
    mains = [number for number, choice in enumerate(choices) if choice.role is AudioRole.MAIN]
    if len(mains) > 1:
        raise ConfigError("--audio: only one programme can be main; give the others another role")
    with_sound = [track for track in tracks if track.channels]
    chosen = [
        _make_programme([_select(source, by_index) for source in choice.streams], choice) for choice in choices
    ] or with_sound
    chosen = list(_with_unique_numbers(chosen, tracks))
    ordinary = [number for number, track in enumerate(chosen) if not _NAMES.keys() & _roles(track)]
    marked = [] if choices else [number for number in ordinary if chosen[number].default]
    default = next(iter([*mains, *marked, *ordinary, 0]))
    return tuple(replace(_with_name(track), default=number == default) for number, track in enumerate(chosen))


def describe(
    programmes: Sequence[AudioTrack], tracks: Sequence[AudioTrack], *, start_s: Fraction, duration_s: Fraction
) -> Iterator[str]:
    """Describe the decisions about sound, a line for each.

    Args:
        programmes: As returned by `choose`.
        tracks: The master's tracks of sound.
        start_s: When the master shows its first frame.
        duration_s: Duration of the picture.
    """
    for programme in programmes:
        name = f"audio {programme.label}"
        if programme.parts:
            verb = "joined to" if len(programme.parts) > 1 else "picked as"
            yield f"{name} {verb} one programme of {programme.layout}"
        else:
            yield from _describe_channels(programme)
        if roles := sorted(_roles(programme)):
            yield f"{name} is {', '.join(roles)}"
        late_s = programme.start_s - start_s
        if abs(late_s) >= _CODEC_FRAME_S:
            done = "begins with silence" if late_s > 0 else "its beginning is cut"
            yield f"{name} starts {_seconds(late_s)} {'after' if late_s > 0 else 'before'} the picture → {done}"
        over_s = late_s + programme.duration_s - duration_s
        if programme.duration_s and abs(over_s) >= _CODEC_FRAME_S:
            done = "its end is cut" if over_s > 0 else "ends with silence"
            yield f"{name} ends {_seconds(over_s)} {'after' if over_s > 0 else 'before'} the picture → {done}"
    used = {part.index for programme in programmes for part in programme.parts or (programme,)}
    for track in tracks:
        if not track.channels:
            yield f"audio {track.index} ({track.codec}) never carries any sound → left out"
    if left_out := [track for track in tracks if track.channels and track.index not in used]:
        yield f"audio {', '.join(str(track.index) for track in left_out)} left out by --audio"
    mono = [track for track in programmes if track.channels == 1 and not track.parts]
    if len(mono) in LAYOUTS and len({track.language for track in mono}) == 1:
        together = "+".join(str(track.index) for track in mono)
        yield (
            f"{len(mono)} mono tracks → {len(mono)} programmes; if they are the channels of one, "
            f"join them with --audio {together}"
        )


def describe_programme(probe: Probe) -> Iterator[str]:
    """If the master has several programs or pictures, describe which ones are encoded."""
    if len(probe.programs) > 1:
        every = ", ".join(map(str, probe.programs))
        yield f"program {probe.program} of programs {every} → its picture, sound and text; --program selects another"
    if probe.video is not None and len(probe.pictures) > 1:
        every = ", ".join(map(str, probe.pictures))
        yield f"picture {probe.video.index} of pictures {every} → encoded; --video selects another"


def _describe_channels(programme: AudioTrack) -> Iterator[str]:
    name, speakers, channels = f"audio {programme.label}", " ".join(programme.speakers), programme.channels
    if channels > 2 and not programme.speakers_stated and programme.speakers:
        yield (
            f"{name} has {channels} channels without names → treated as {ASSUMED[channels]} ({speakers}); "
            f"if that is wrong, pick channels, such as --audio {programme.index}.0+{programme.index}.1"
        )
    elif programme.speakers_stated and programme.layout not in _USUAL and channels > 1:
        yield f"{name} has the channels {speakers} → mixed by their names"


def _check_exists(source: int | Channel, by_index: Mapping[int, AudioTrack], tracks: Sequence[AudioTrack]) -> None:
    track = by_index.get(source.stream if isinstance(source, Channel) else source)
    if track is None:
        stream = source.stream if isinstance(source, Channel) else source
        raise ConfigError(f"--audio: the master has no audio stream {stream}; it has {_list_tracks(tracks)}")
    if not track.channels:
        raise ConfigError(
            f"--audio: stream {track.index} never carries any sound; the master has {_list_tracks(tracks)}"
        )
    if isinstance(source, Channel) and source.number >= track.channels:
        raise ConfigError(
            f"--audio: stream {track.index} has no channel {source.number}; "
            f"its {track.channels} channels are counted from 0"
        )


def _kind(source: int | Channel) -> str:
    return "channel" if isinstance(source, Channel) else "stream"


def _select(source: int | Channel, by_index: Mapping[int, AudioTrack]) -> AudioTrack:
    """A stream, or one of its channels, as a programme of its own."""
    if isinstance(source, int):
        return by_index[source]
    track = by_index[source.stream]
    part = replace(_as_part(track), channels=1, channel=source.number)
    return replace(track, channels=1, layout="mono", title="", timeline=None, parts=(part,))


def _as_part(track: AudioTrack) -> AudioPart:
    return AudioPart(track.index, track.channels, track.start_s, track.timeline)


def _make_programme(parts: Sequence[AudioTrack], choice: AudioChoice) -> AudioTrack:
    first = parts[0] if len(parts) == 1 else _join(parts)
    return replace(
        first,
        language=first.language if choice.language is None else standardized(choice.language, "--audio"),
        title=first.title if choice.name is None else choice.name,
        roles=first.roles
        if choice.role is None
        else tuple(DISPOSITIONS[role] for role in (choice.role,) if role in DISPOSITIONS),
    )


def _join(parts: Sequence[AudioTrack]) -> AudioTrack:
    channels = sum(part.channels for part in parts)
    if channels not in LAYOUTS or any(part.channels > 2 for part in parts):
        raise ConfigError(
            f"--audio: {_list_tracks(parts)} can't be joined; "
            "join mono and stereo streams, or channels, to 2, 6 or 8 channels in all: stereo, 5.1 or 7.1"
        )
    start_s = min(part.start_s for part in parts)
    return replace(
        parts[0],
        channels=channels,
        layout=LAYOUTS[channels],
        title="",
        start_s=start_s,
        duration_s=max(part.start_s + part.duration_s for part in parts) - start_s,
        bit_rate_bps=sum(part.bit_rate_bps for part in parts),
        timeline=None,
        parts=tuple(audio_part for part in parts for audio_part in part.parts or (_as_part(part),)),
    )


def _with_unique_numbers(programmes: Sequence[AudioTrack], tracks: Sequence[AudioTrack]) -> Iterator[AudioTrack]:
    """If several programmes come from the same stream, give all but the first a number that no stream has."""
    taken: set[int] = set()
    free = count(max((track.index for track in tracks), default=0) + 1)
    for programme in programmes:
        index = next(free) if programme.index in taken else programme.index
        taken.add(index)
        yield replace(programme, index=index)


def _with_name(track: AudioTrack) -> AudioTrack:
    words = [_NAMES[role] for role in sorted(_roles(track)) if role in _NAMES]
    if track.title or not words:
        return track
    return replace(track, title=" ".join([track.language, *words]) if track.language != "und" else " ".join(words))


def _roles(track: AudioTrack) -> set[AudioRole]:
    return {_ROLES[disposition] for disposition in track.roles if disposition in _ROLES}


def _seconds(time_s: Fraction) -> str:
    return f"{abs(float(time_s)):.3f} s"


def _list_tracks(tracks: Sequence[AudioTrack]) -> str:
    descriptions = (f"{t.label} ({', '.join(filter(None, (t.language, t.layout, t.codec, t.title)))})" for t in tracks)
    return ", ".join(descriptions) or "none"
