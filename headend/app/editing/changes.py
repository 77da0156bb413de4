"""Changes to a presentation: its tracks, and their labels, defaults and order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encoder.languages import standardized
from encoder.programmes import DISPOSITIONS
from headend.core.errors import ConfigError
from headend.core.manifests import hls
from headend.core.media import AudioRendition, AudioRole, Playable, Presentation, TextRendition, TextRole, Track
from headend.core.settings import AudioFileChoice, TextChoice
from packager.presentation import StoredTrack, stored_tracks


@dataclass(frozen=True, slots=True)
class Label:
    """New labels for a programme.

    Attributes:
        track: Id of any track of the programme, or of its rendition.
        language: BCP 47 tag; None keeps it.
        role: One of `AudioRole` or `TextRole`; None keeps it.
        name: The name that players show; None keeps it.
    """

    track: str
    language: str | None = None
    role: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """The changes to a title, applied in the order of the attributes.

    Tracks are named by their own ids or by those of their renditions.

    Attributes:
        remove: Tracks to leave out.
        subtitles: Sidecars to add.
        audio: Files whose sound is added.
        labels: New labels of programmes.
        defaults: Tracks that players start with: one picture, one sound.
        order: Tracks that come first, in this order; the others follow in their old order.
    """

    remove: tuple[str, ...] = ()
    subtitles: tuple[TextChoice, ...] = ()
    audio: tuple[AudioFileChoice, ...] = ()
    labels: tuple[Label, ...] = ()
    defaults: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


def describe(wanted: Edit) -> str:
    """Describe the changes in one line."""
    parts = [
        *(f"without {name}" for name in wanted.remove),
        *(f"with {Path(choice.source).name}" for choice in wanted.subtitles),
        *(f"with the sound of {Path(choice.source).name}" for choice in wanted.audio),
        *(f"{label.track} relabelled" for label in wanted.labels),
        *(f"{name} by default" for name in wanted.defaults),
        *(["in another order"] if wanted.order else []),
    ]
    return ", ".join(parts) or "nothing"


def applied(presentation: Presentation, wanted: Edit) -> Presentation:
    """Apply an edit's labels, defaults and order.

    Raises:
        ConfigError: A named track does not exist, or a change to it is invalid.
    """
    for label in wanted.labels:
        presentation = relabelled(presentation, label)
    kinds = [type(find(presentation, name).rendition) for name in wanted.defaults]
    if len(set(kinds)) < len(kinds):
        raise ConfigError("--default names two tracks of one kind; players start with one picture and one sound")
    for name in wanted.defaults:
        presentation = with_default(presentation, name)
    return with_copies(ordered(presentation, wanted.order))


def with_copies(presentation: Presentation) -> Presentation:
    """Make copies in other schemes match the main tracks: the same renditions, order and labels."""

    def matched(tracks: Sequence[Track[Playable]], first: Sequence[Track[Playable]]) -> tuple[Track[Playable], ...]:
        by_rendition = {track.rendition.id: track for track in tracks}
        return tuple(
            replace(by_rendition[track.rendition.id], rendition=track.rendition)
            for track in first
            if track.rendition.id in by_rendition
        )

    copies = (
        replace(
            copy,
            video=matched(copy.video, presentation.video),
            audio=matched(copy.audio, presentation.audio),
            trick=matched(copy.trick, presentation.trick),
        )
        for copy in presentation.copies
    )
    # Drop copies that have no picture left.
    return replace(presentation, copies=tuple(copy for copy in copies if copy.video))


# --- finding and removing tracks ----------------------------------------------------------------------------------


def _has_id(track: StoredTrack, name: str) -> bool:
    return name in (track.id, track.rendition.id)


def find(presentation: Presentation, name: str) -> StoredTrack:
    """Find a track by its id or by that of its rendition; raise `ConfigError` if there is none."""
    tracks = stored_tracks(replace(presentation, copies=()))
    matches = [track for track in tracks if _has_id(track, name)]
    if not matches:
        existing = ", ".join(track.rendition.id for track in tracks)
        raise ConfigError(f"{presentation.title!r} has no track {name!r}; it has {existing}")
    return matches[0]


def without(presentation: Presentation, names: Iterable[str]) -> Presentation:
    """Remove tracks. If a default is removed, the nearest remaining track becomes the default.

    Args:
        presentation: The release.
        names: Ids of tracks or of their renditions.

    Raises:
        ConfigError: There is no such track, or no picture would be left.
    """
    for name in names:
        find(presentation, name)
    removed = set(names)

    def kept(tracks: Sequence[Track[Playable]]) -> tuple[Track[Playable], ...]:
        return tuple(track for track in tracks if removed.isdisjoint((track.id, track.rendition.id)))

    video = kept(presentation.video)
    codecs = {track.rendition.codec for track in video}
    if video and not any(track.rendition.default for track in video):
        # The new default is the rendition with the rate nearest to that of the old one.
        old = next((t.rendition.average_bps for t in presentation.video if t.rendition.default), 0)
        nearest = min(video, key=lambda track: abs(track.rendition.average_bps - old))
        video = tuple(replace(track, rendition=replace(track.rendition, default=track is nearest)) for track in video)
    if not video:
        raise ConfigError(f"{presentation.title!r} would have no picture left; keep one, or use headend unpublish")
    audio = kept(presentation.audio)
    for kind, before, left in (("picture", presentation.video, video), ("sound", presentation.audio, audio)):
        if left and any(map(hls.in_hls, before)) and not any(map(hls.in_hls, left)):
            raise ConfigError(
                f"{presentation.title!r} would have no {kind} left for HLS, only for DASH: keep one in another codec"
            )
    if audio and not any(track.rendition.default for track in audio):
        audio = with_default_programme(audio, _default_programme(audio))
    programmes = {track.rendition.track_index for track in audio}
    thumbnails, poster = presentation.thumbnails, presentation.poster
    return replace(
        presentation,
        video=video,
        # Players need video of the same codec to use a trick-play track.
        trick=tuple(track for track in kept(presentation.trick) if track.rendition.codec in codecs),
        audio=audio,
        audio_files=tuple(file for file in presentation.audio_files if file.track_index in programmes),
        text=kept(presentation.text),
        thumbnails=None if thumbnails and any(_has_id(thumbnails, name) for name in removed) else thumbnails,
        poster=None if poster and any(_has_id(poster, name) for name in removed) else poster,
    )


def _default_programme(audio: Sequence[Track[AudioRendition]]) -> int:
    """Return the number of the default programme: the first without a special role."""
    special = {DISPOSITIONS[role] for role in (AudioRole.COMMENTARY, AudioRole.DESCRIPTION, AudioRole.HEARING_IMPAIRED)}
    plain = (track for track in audio if special.isdisjoint(track.rendition.roles))
    return next(plain, audio[0]).rendition.track_index


def with_default_programme(
    audio: Sequence[Track[AudioRendition]], index: int | None
) -> tuple[Track[AudioRendition], ...]:
    """Return audio tracks with the programme of this index as the default; None for no default."""
    return tuple(
        replace(track, rendition=replace(track.rendition, default=track.rendition.track_index == index))
        for track in audio
    )


# --- labels, defaults and order -----------------------------------------------------------------------------------


def relabelled(presentation: Presentation, label: Label) -> Presentation:
    """Give a programme of sound or text new labels.

    Raises:
        ConfigError: There is no such track, it is a picture, the language or role is unknown, or another programme has
            the name.
    """
    track = find(presentation, label.track)
    rendition = track.rendition
    _check_name(presentation, rendition, label)
    if isinstance(rendition, AudioRendition):
        if label.role is not None and label.role not in list(AudioRole):
            raise ConfigError(f"{label.role!r} is not a role of sound; use one of {', '.join(AudioRole)}")
        index = rendition.track_index
        return replace(
            presentation,
            audio=tuple(
                replace(existing, rendition=_relabelled_audio(existing.rendition, label))
                if existing.rendition.track_index == index
                else existing
                for existing in presentation.audio
            ),
        )
    if isinstance(rendition, TextRendition):
        if label.role is not None and label.role not in list(TextRole):
            raise ConfigError(f"{label.role!r} is not a role of text; use one of {', '.join(TextRole)}")
        programme = rendition.programme
        return replace(
            presentation,
            text=tuple(
                replace(existing, rendition=_relabelled_text(existing.rendition, label))
                if existing.rendition.programme == programme
                else existing
                for existing in presentation.text
            ),
        )
    raise ConfigError(f"{label.track} is a picture; only sound and text have labels")


def _check_name(presentation: Presentation, rendition: object, label: Label) -> None:
    """Check that programmes of one kind have different names, so that players can tell them apart."""
    if isinstance(rendition, AudioRendition):
        others = {t.rendition.name for t in presentation.audio if t.rendition.track_index != rendition.track_index}
    elif isinstance(rendition, TextRendition):
        others = {t.rendition.name for t in presentation.text if t.rendition.programme != rendition.programme}
    else:
        return
    if label.name in others:
        raise ConfigError(f"another programme of {presentation.title!r} is named {label.name!r}; choose another name")


def _relabelled_audio(rendition: AudioRendition, label: Label) -> AudioRendition:
    roles = rendition.roles
    if label.role is not None:
        disposition = DISPOSITIONS.get(AudioRole(label.role))
        roles = (disposition,) if disposition else ()
    language = _language(label.language) or rendition.language
    coded = rendition.coded_language or rendition.language
    return replace(
        rendition,
        language=language,
        coded_language="" if coded == language else coded,
        roles=roles,
        name=label.name or rendition.name,
    )


def _relabelled_text(rendition: TextRendition, label: Label) -> TextRendition:
    return replace(
        rendition,
        language=_language(label.language) or rendition.language,
        role=TextRole(label.role) if label.role else rendition.role,
        name=label.name or rendition.name,
    )


def _language(tag: str | None) -> str | None:
    return standardized(tag, "--relabel") if tag else None


def with_default(presentation: Presentation, name: str) -> Presentation:
    """Make a picture or a programme of sound the default.

    Raises:
        ConfigError: There is no such track, or it is neither picture nor sound.
    """
    chosen = find(presentation, name)
    rendition = chosen.rendition
    if isinstance(rendition, AudioRendition):
        return replace(presentation, audio=with_default_programme(presentation.audio, rendition.track_index))
    if any(track.id == chosen.id for track in presentation.video):
        return replace(
            presentation,
            video=tuple(
                replace(track, rendition=replace(track.rendition, default=track.id == chosen.id))
                for track in presentation.video
            ),
        )
    raise ConfigError(f"{name} can't be a default: only pictures and sound have defaults")


def ordered(presentation: Presentation, names: Sequence[str]) -> Presentation:
    """Move tracks to the front, in the order of ``names``; raise `ConfigError` if one does not exist."""
    for name in names:
        find(presentation, name)

    def place(track: StoredTrack) -> int:
        return next((number for number, name in enumerate(names) if _has_id(track, name)), len(names))

    return replace(
        presentation,
        video=tuple(sorted(presentation.video, key=place)),
        audio=tuple(sorted(presentation.audio, key=place)),
        text=tuple(sorted(presentation.text, key=place)),
    )
