"""Making an edited release."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace

from encoder import cluster
from headend.app import deciding
from headend.app.editing import adding_sound, adding_text, changes, encrypting_sound
from headend.app.editing.adding_sound import Added
from headend.app.editing.changes import Edit
from headend.app.request import Event, Step
from headend.core import holds
from headend.core.media import EncodePlan, Playable, Presentation, Segment, TextRendition, Track
from headend.core.settings import ClusterSettings, KeySettings, StoreSettings
from headend.core.storage import open_store
from packager import publishing
from packager.presentation import StoredTrack, assemble, renditions_of, stored_tracks
from packager.publishing import PublishResult, publish
from packager.reading import current_release, load_presentation


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of an edit.

    Attributes:
        published: The release; after a dry run, it has no id and lacks the new tracks.
        added: Ids of the new renditions.
        encoded: Number of these that were encoded; after a dry run, the number of new renditions.
    """

    published: PublishResult
    added: tuple[str, ...]
    encoded: int


def edit(
    settings: StoreSettings,
    title: str,
    wanted: Edit,
    *,
    workers: ClusterSettings = ClusterSettings(),  # noqa: B008  # frozen
    keys: KeySettings | None = None,
    dry_run: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
    run: cluster.RunTasks = cluster.run_tasks,
) -> Edited:
    """Apply changes to a title's current release, and publish the result.

    Repeating a call that was killed resumes it.

    Args:
        settings: The store.
        title: Catalogue entry.
        wanted: The changes.
        workers: Where sound is encoded.
        keys: Where content keys come from, for adding sound to an encrypted title.
        dry_run: Whether to write nothing.
        on_event: Called with every event.
        run: Runs the tasks that encode sound.

    Raises:
        ConfigError: The title is not published, a named track does not exist, a label is invalid, or a content key is
            missing or wrong.
        MasterError: A file of text or sound can't be read, or does not fit the film.
        EncodingError: Sound could not be encoded.
        PackagingError: Objects of the title are missing.
        StorageError: The store failed, or the key source can't be reached.
    """
    # The edit is based on the release that is current now, so one that is published meanwhile stays current.
    submitted_at = publishing.now()
    store = open_store(settings)
    release = current_release(store, title)
    before = load_presentation(store, title, release)
    left = changes.without(before, wanted.remove)
    if wanted.audio:
        left = encrypting_sound.with_keys(left, keys)
    # Fail early, before anything is made.
    texts = adding_text.programmes(wanted.subtitles, settings, left)
    text_plan = adding_text.plan(left, texts)
    if wanted.audio:
        cluster.check_reachable(workers)
    known = deciding.calibration(store, workers, on_event)
    sounds = adding_sound.plan_sound(wanted.audio, settings, left, known, on_event)
    encrypting_sound.check_vectors(store, title, [sound.plan for sound in sounds])
    plans = (text_plan, *(sound.plan for sound in sounds))
    preview = _extended(
        left,
        [_placeholder(text_plan.tracks[rendition.id], rendition) for rendition in text_plan.text],
        [assemble(sound.plan, _placeholders(sound.plan)) for sound in sounds],
        sounds,
    )
    changed = changes.applied(preview, wanted)
    new = {track for plan in plans for track in plan.tracks.values()}
    added = tuple(dict.fromkeys(plan.encoded_for(name) for plan in plans for name in plan.tracks))
    if dry_run:
        existing = replace(changed, release="", audio=_without(changed.audio, new), text=_without(changed.text, new))
        return Edited(PublishResult(changes.with_copies(existing), is_current=False), added, len(added))
    needed = [*(track.id for track in stored_tracks(before)), *new]
    with holds.held(store, title, tracks=needed, releases=[release], reason="edit"):
        text_tracks = list(adding_text.make(store, settings, text_plan, texts).values()) if texts else []
        sound_parts: list[Presentation] = []
        encoded = 0
        for sound in sounds:
            tracks, count = adding_sound.make(sound, store, settings, workers, on_event, run, keys)
            sound_parts.append(assemble(sound.plan, tracks))
            encoded += count
        whole = _extended(left, text_tracks, sound_parts, sounds)
        if sounds:
            on_event(Step("publishing"))
        reason = f"edited: {changes.describe(wanted)}"
        published = publish(store, changes.applied(whole, wanted), submitted_at=submitted_at, reason=reason)
        return Edited(published, added, encoded)


def _extended(
    presentation: Presentation,
    text: Sequence[Track[TextRendition]],
    parts: Sequence[Presentation],
    sounds: Sequence[Added],
) -> Presentation:
    """Append tracks to a presentation."""
    existing, audio = presentation.audio, [track for part in parts for track in part.audio]
    if any(track.rendition.default for track in audio):
        existing = changes.with_default_programme(existing, None)
    copied = {
        copy.protection.scheme: [
            track
            for part in parts
            for other in part.copies
            if other.protection.scheme is copy.protection.scheme
            for track in other.audio
        ]
        for copy in presentation.copies
    }
    return replace(
        presentation,
        text=(*presentation.text, *text),
        audio=(*existing, *audio),
        audio_files=(*presentation.audio_files, *(sound.origin for sound in sounds)),
        copies=tuple(
            replace(copy, audio=(*copy.audio, *copied[copy.protection.scheme])) for copy in presentation.copies
        ),
    )


def _placeholders(plan: EncodePlan) -> dict[str, StoredTrack]:
    renditions = renditions_of(plan)
    return {name: _placeholder(track, renditions[name]) for name, track in plan.tracks.items()}


def _placeholder(track: str, rendition: Playable) -> Track[Playable]:
    """Return a track without media, so that changes can be checked before anything is made."""
    return Track(track, rendition, "", 0, 1, 0, (Segment(1, 0, 1, 0, 0, ""),))


def _without(tracks: Sequence[Track[Playable]], ids: Container[str]) -> tuple[Track[Playable], ...]:
    return tuple(track for track in tracks if track.id not in ids)
