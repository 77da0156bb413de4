"""Making the release that an edit asks for."""

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
from packager.presentation import StoredTrack, present, renditions_of, stored_tracks
from packager.publishing import Placed, current_release, load, publish


@dataclass(frozen=True, slots=True)
class Edited:
    """What has become of an edit.

    Attributes:
        placed: The release; of a dry run, one without a name and without the tracks that would be made.
        added: Ids of the renditions that are new in the title.
        encoded: How many of these were encoded; of a dry run, how many are new.
    """

    placed: Placed
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
    """Make a release of a title's current one with changes, and make it current.

    A second call with the same changes goes on where a first one was killed.

    Args:
        settings: The store.
        title: Catalogue entry.
        wanted: The changes.
        workers: Where sound is encoded.
        keys: Where content keys come from, for sound that an encrypted title gets.
        dry_run: Whether to write nothing.
        on_event: Called with every event.
        run: Runs the tasks that encode sound.

    Raises:
        ConfigError: The title is not published, a track that is named is not there, a label can't be, or a content key
            is missing or wrong.
        MasterError: A file of text or sound can't be read, or does not fit the film.
        EncodingError: Sound could not be encoded.
        PackagingError: Objects of the title are missing.
        StorageError: The store failed, or the source of keys can't be reached.
    """
    # The release is one of what is current now: what is published meanwhile stays current.
    submitted_at = publishing.now()
    store = open_store(settings)
    release = current_release(store, title)
    before = load(store, title, release)
    left = changes.without(before, wanted.remove)
    if wanted.audio:
        left = encrypting_sound.with_keys(left, keys)
    # What can be wrong is found before anything is made.
    texts = adding_text.programmes(wanted.subtitles, settings, left)
    text_plan = adding_text.plan(left, texts)
    if wanted.audio:
        cluster.check_reachable(workers)
    sounds = adding_sound.plan_sound(wanted.audio, settings, left, deciding.calibration(store), on_event)
    encrypting_sound.check_vectors(store, title, [one.plan for one in sounds])
    plans = (text_plan, *(one.plan for one in sounds))
    hollow = _extended(
        left,
        [_hollow(text_plan.tracks[one.id], one) for one in text_plan.text],
        [present(one.plan, _hollow_tracks(one.plan)) for one in sounds],
        sounds,
    )
    changed = changes.applied(hollow, wanted)
    new = {track for plan in plans for track in plan.tracks.values()}
    added = tuple(dict.fromkeys(plan.encoded_for(name) for plan in plans for name in plan.tracks))
    if dry_run:
        there = replace(changed, release="", audio=_but(changed.audio, new), text=_but(changed.text, new))
        return Edited(Placed(changes.with_copies(there), is_current=False), added, len(added))
    needed = [*(track.id for track in stored_tracks(before)), *new]
    with holds.held(store, title, tracks=needed, releases=[release], reason="edit"):
        written = list(adding_text.make(store, settings, text_plan, texts).values()) if texts else []
        heard: list[Presentation] = []
        encoded = 0
        for one in sounds:
            tracks, count = adding_sound.make(one, store, settings, workers, on_event, run, keys)
            heard.append(present(one.plan, tracks))
            encoded += count
        whole = _extended(left, written, heard, sounds)
        if sounds:
            on_event(Step("publishing"))
        reason = f"edited: {changes.describe(wanted)}"
        placed = publish(store, changes.applied(whole, wanted), submitted_at=submitted_at, reason=reason)
        return Edited(placed, added, encoded)


def _extended(
    presentation: Presentation,
    text: Sequence[Track[TextRendition]],
    heard: Sequence[Presentation],
    sounds: Sequence[Added],
) -> Presentation:
    """The presentation with tracks that are added, behind those that there are."""
    there, audio = presentation.audio, [track for one in heard for track in one.audio]
    if any(track.rendition.default for track in audio):
        there = changes.played(there, None)
    copied = {
        copy.protection.scheme: [
            track
            for one in heard
            for other in one.copies
            if other.protection.scheme is copy.protection.scheme
            for track in other.audio
        ]
        for copy in presentation.copies
    }
    return replace(
        presentation,
        text=(*presentation.text, *text),
        audio=(*there, *audio),
        audio_files=(*presentation.audio_files, *(one.origin for one in sounds)),
        copies=tuple(
            replace(copy, audio=(*copy.audio, *copied[copy.protection.scheme])) for copy in presentation.copies
        ),
    )


def _hollow_tracks(plan: EncodePlan) -> dict[str, StoredTrack]:
    renditions = renditions_of(plan)
    return {name: _hollow(track, renditions[name]) for name, track in plan.tracks.items()}


def _hollow(track: str, rendition: Playable) -> Track[Playable]:
    """A track that is not made yet, so that what is said of it can be tried."""
    return Track(track, rendition, "", 0, 1, 0, (Segment(1, 0, 1, 0, 0, ""),))


def _but(tracks: Sequence[Track[Playable]], gone: Container[str]) -> tuple[Track[Playable], ...]:
    return tuple(track for track in tracks if track.id not in gone)
