"""Programmes: which sound of a master is delivered, joined from what, in which language and role.

Comes in: the tracks that a probe has found, and what a person chose of them. Goes out: programmes, of which exactly one
is the one to play unasked, and a line for each decision.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from langcodes import standardize_tag
from langcodes.tag_parser import LanguageTagError

from headend.errors import ConfigError
from headend.media import AudioPart, AudioRole, AudioTrack
from headend.settings import AudioChoice

DISPOSITIONS: Mapping[AudioRole, str] = {
    AudioRole.ORIGINAL: "original",
    AudioRole.DUB: "dub",
    AudioRole.COMMENTARY: "comment",
    AudioRole.DESCRIPTION: "visual_impaired",
    AudioRole.HEARING_IMPAIRED: "hearing_impaired",
}
"""FFmpeg's disposition of each role, as a master carries it; main and alternate need none."""
LAYOUTS: Mapping[int, str] = {2: "stereo", 6: "5.1", 8: "7.1"}
"""What streams are joined to, by the number of their channels."""

_ROLES = {disposition: role for role, disposition in DISPOSITIONS.items()} | {"descriptions": AudioRole.DESCRIPTION}
_NAMES: Mapping[AudioRole, str] = {
    AudioRole.COMMENTARY: "commentary",
    AudioRole.DESCRIPTION: "audio description",
    AudioRole.HEARING_IMPAIRED: "clear speech",
}
"""Roles that nobody wants to hear by chance: their names say so (Apple, HLS Authoring Specification, 2.14)."""
_CODEC_FRAME_S = Fraction(1, 20)
"""Starts and ends that lie nearer than this to the picture's are what codec frames and containers make of them."""


def choose(tracks: Sequence[AudioTrack], choices: Sequence[AudioChoice] = ()) -> tuple[AudioTrack, ...]:
    """Settle the programmes of a title.

    Args:
        tracks: Of the master.
        choices: What a person picked, in the order of the programmes; empty for every track as it is.

    Returns:
        Programmes, of which exactly one is the default: what was chosen as main, else what the master marks, else the
        first that is no commentary and for no impairment.

    Raises:
        ConfigError: A chosen stream is not there or chosen twice, streams can't be joined, a language is no language
            tag, or there are two mains. The message names the tracks that there are.
    """
    used = Counter(stream for choice in choices for stream in choice.streams)
    there = {track.index: track for track in tracks}
    if strange := [stream for stream in used if stream not in there]:
        raise ConfigError(f"--audio: the master has no audio stream {strange[0]}; it has {_listed(tracks)}")
    if twice := [stream for stream, times in used.items() if times > 1]:
        raise ConfigError(f"--audio: stream {twice[0]} is chosen twice; each can be in one programme only")
    mains = [number for number, choice in enumerate(choices) if choice.role is AudioRole.MAIN]
    if len(mains) > 1:
        raise ConfigError("--audio: only one programme can be main; make the others alternate, dub or what they are")
    chosen = [_chosen([there[stream] for stream in choice.streams], choice) for choice in choices] or list(tracks)
    plain = [number for number, track in enumerate(chosen) if not _NAMES.keys() & _roles(track)]
    marked = [] if choices else [number for number in plain if chosen[number].default]
    default = next(iter([*mains, *marked, *plain, 0]))
    return tuple(replace(_named(track), default=number == default) for number, track in enumerate(chosen))


def tell(
    programmes: Sequence[AudioTrack], tracks: Sequence[AudioTrack], *, start_s: Fraction, duration_s: Fraction
) -> Iterator[str]:
    """Say what is done to the sound, one line for each decision.

    Args:
        programmes: As `choose` returns them.
        tracks: Of the master.
        start_s: When the master shows its first frame.
        duration_s: How long the picture lasts.
    """
    for programme in programmes:
        name = f"audio {_streams(programme)}"
        if programme.parts:
            yield f"{name} joined to one programme of {programme.layout}"
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
    taken = {part.index for programme in programmes for part in programme.parts or (programme,)}
    if left := [track for track in tracks if track.index not in taken]:
        yield f"audio {', '.join(str(track.index) for track in left)} left out by --audio"
    single = [track for track in programmes if track.channels == 1 and not track.parts]
    if len(single) in LAYOUTS and len({track.language for track in single}) == 1:
        together = "+".join(str(track.index) for track in single)
        yield (
            f"{len(single)} mono tracks → {len(single)} programmes; if they are the channels of one, "
            f"join them with --audio {together}"
        )


def _chosen(parts: Sequence[AudioTrack], choice: AudioChoice) -> AudioTrack:
    first = parts[0] if len(parts) == 1 else _joined(parts)
    return replace(
        first,
        language=first.language if choice.language is None else _language(choice.language),
        title=first.title if choice.name is None else choice.name,
        roles=first.roles
        if choice.role is None
        else tuple(DISPOSITIONS[role] for role in (choice.role,) if role in DISPOSITIONS),
    )


def _joined(parts: Sequence[AudioTrack]) -> AudioTrack:
    channels = sum(part.channels for part in parts)
    if channels not in LAYOUTS or any(part.channels > 2 for part in parts):
        raise ConfigError(
            f"--audio: {_listed(parts)} can't be joined; "
            "mono and stereo streams of 2, 6 or 8 channels in all make stereo, 5.1 or 7.1"
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
        parts=tuple(AudioPart(part.index, part.channels, part.start_s, part.timeline) for part in parts),
    )


def _language(tag: str) -> str:
    try:
        return standardize_tag(tag)
    except LanguageTagError as error:
        raise ConfigError(f"--audio: {tag!r} is no language; use tags such as en, pt-BR or zh-Hant") from error


def _named(track: AudioTrack) -> AudioTrack:
    words = [_NAMES[role] for role in sorted(_roles(track)) if role in _NAMES]
    if track.title or not words:
        return track
    return replace(track, title=" ".join([track.language, *words]) if track.language != "und" else " ".join(words))


def _roles(track: AudioTrack) -> set[AudioRole]:
    return {_ROLES[disposition] for disposition in track.roles if disposition in _ROLES}


def _streams(track: AudioTrack) -> str:
    return "+".join(str(part.index) for part in track.parts or (track,))


def _seconds(time_s: Fraction) -> str:
    return f"{abs(float(time_s)):.3f} s"


def _listed(tracks: Sequence[AudioTrack]) -> str:
    each = (f"{t.index} ({', '.join(filter(None, (t.language, t.layout, t.codec, t.title)))})" for t in tracks)
    return ", ".join(each) or "none"
