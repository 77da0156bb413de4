"""Editing a published title: a new release over the tracks that there are, and over new text.

Comes in: a title and what is to change. Goes out: a release, which becomes the current one. Pictures and sound are not
touched; files of text are cut into tracks in this process, which takes seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import planning, tool
from encoder import text as programmes_of_text
from encoder.programmes import DISPOSITIONS
from encoder.subtitles import sidecars
from headend import holds
from headend.errors import ConfigError
from headend.media import (
    AudioRendition,
    AudioRole,
    Effort,
    EncodePlan,
    EncodeTask,
    Kind,
    Master,
    Playable,
    Presentation,
    Probe,
    TextRendition,
    TextRole,
    TextTrack,
    Track,
)
from headend.performing import make_text
from headend.settings import StoreSettings, TextChoice
from headend.storage import Store, open_store
from packager.presentation import StoredTrack, stored_tracks
from packager.publishing import Placed, current_release, load, publish
from packager.stock import fold, take, tidy


@dataclass(frozen=True, slots=True)
class Label:
    """What players are told of a programme from now on.

    Attributes:
        track: Any track of the programme, or its rendition.
        language: BCP 47 tag; None keeps it.
        role: One of `AudioRole` or `TextRole`; None keeps it.
        name: What players show; None keeps it.
    """

    track: str
    language: str | None = None
    role: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to change of a title; all of it is done in the order of the attributes.

    Attributes:
        remove: Tracks, or renditions, that the new release leaves out.
        subtitles: Files of text that it gets.
        labels: Programmes that get other labels.
        defaults: Tracks, or renditions, that players start with: one of picture, one of sound.
        order: Tracks, or renditions, that come first, in this order; the rest keeps its order behind them.
    """

    remove: tuple[str, ...] = ()
    subtitles: tuple[TextChoice, ...] = ()
    labels: tuple[Label, ...] = ()
    defaults: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


def edit(settings: StoreSettings, title: str, wanted: Edit, *, dry_run: bool = False) -> Placed:
    """Make a release of a title's current one with changes, and make it current.

    Args:
        settings: The store.
        title: Catalogue entry.
        wanted: The changes.
        dry_run: Whether to write nothing; then the presentation has no release.

    Raises:
        ConfigError: The title is not published, or a track that is named is not there.
        MasterError: A file of text can't be read, or does not fit the film.
        PackagingError: Objects of the title are missing.
        StorageError: The store failed.
    """
    store = open_store(settings)
    release = current_release(store, title)
    before = load(store, title, release)
    tracks = [track.id for track in stored_tracks(before)]
    added = _programmes(wanted.subtitles, settings, before)
    plan = _text_plan(before, added)
    if twice := set(plan.tracks.values()) & set(tracks):
        raise ConfigError(f"{title!r} has that text already: {min(twice)}")
    with holds.held(store, title, tracks=[*tracks, *plan.tracks.values()], releases=[release], reason="edit"):
        presentation = _without(before, wanted.remove)
        if added and not dry_run:
            presentation = replace(presentation, text=(*presentation.text, *_make_text(store, settings, plan, added)))
        for label in wanted.labels:
            presentation = _relabelled(presentation, label)
        for name in wanted.defaults:
            presentation = _with_default(presentation, name)
        presentation = _with_copies(_ordered(presentation, wanted.order))
        _check(presentation)
        if dry_run:
            return Placed(replace(presentation, release=""), is_current=False)
        return publish(store, presentation, reason=f"edited: {tell(wanted)}")


def tell(wanted: Edit) -> str:
    """Say in one line what changes."""
    parts = [
        *(f"without {name}" for name in wanted.remove),
        *(f"with {Path(choice.source).name}" for choice in wanted.subtitles),
        *(f"{label.track} relabelled" for label in wanted.labels),
        *(f"{name} by default" for name in wanted.defaults),
        *(["in another order"] if wanted.order else []),
    ]
    return ", ".join(parts) or "nothing"


# --- what is there ------------------------------------------------------------------------------------------------


def _is(track: StoredTrack, name: str) -> bool:
    return name in (track.id, track.rendition.id)


def _find(presentation: Presentation, name: str) -> StoredTrack:
    found = [track for track in stored_tracks(presentation) if _is(track, name)]
    if not found:
        there = ", ".join(track.rendition.id for track in stored_tracks(presentation))
        raise ConfigError(f"{presentation.title!r} has no track {name!r}; it has {there}")
    return found[0]


def _without(presentation: Presentation, names: Iterable[str]) -> Presentation:
    for name in names:
        _find(presentation, name)
    gone = set(names)

    def kept(tracks: Sequence[Track[Playable]]) -> tuple[Track[Playable], ...]:
        return tuple(track for track in tracks if gone.isdisjoint((track.id, track.rendition.id)))

    video = kept(presentation.video)
    codecs = {track.rendition.codec for track in video}
    if video and not any(track.rendition.default for track in video):
        # Players have to start somewhere: with what comes nearest to what they started with.
        old = next((t.rendition.average_bps for t in presentation.video if t.rendition.default), 0)
        nearest = min(video, key=lambda track: abs(track.rendition.average_bps - old))
        video = tuple(replace(track, rendition=replace(track.rendition, default=track is nearest)) for track in video)
    thumbnails, poster = presentation.thumbnails, presentation.poster
    return replace(
        presentation,
        video=video,
        # Trick play belongs to pictures of its codec.
        trick=tuple(track for track in kept(presentation.trick) if track.rendition.codec in codecs),
        audio=kept(presentation.audio),
        text=kept(presentation.text),
        thumbnails=None if thumbnails and any(_is(thumbnails, name) for name in gone) else thumbnails,
        poster=None if poster and any(_is(poster, name) for name in gone) else poster,
    )


def _with_copies(presentation: Presentation) -> Presentation:
    """Let copies in other schemes follow their first tracks: which there are, in which order, and with which labels."""

    def followed(tracks: Sequence[Track[Playable]], first: Sequence[Track[Playable]]) -> tuple[Track[Playable], ...]:
        by_rendition = {track.rendition.id: track for track in tracks}
        return tuple(
            replace(by_rendition[one.rendition.id], rendition=one.rendition)
            for one in first
            if one.rendition.id in by_rendition
        )

    copies = (
        replace(
            copy,
            video=followed(copy.video, presentation.video),
            audio=followed(copy.audio, presentation.audio),
            trick=followed(copy.trick, presentation.trick),
        )
        for copy in presentation.copies
    )
    # A copy without a picture is none.
    return replace(presentation, copies=tuple(copy for copy in copies if copy.video))


def _check(presentation: Presentation) -> None:
    if not presentation.video:
        raise ConfigError(f"{presentation.title!r} would have no picture left; keep one, or use headend unpublish")


# --- labels, defaults and order -----------------------------------------------------------------------------------


def _relabelled(presentation: Presentation, label: Label) -> Presentation:
    track = _find(presentation, label.track)
    rendition = track.rendition
    if isinstance(rendition, AudioRendition):
        if label.role is not None and label.role not in list(AudioRole):
            raise ConfigError(f"{label.role!r} is no role of sound; use one of {', '.join(AudioRole)}")
        index = rendition.track_index
        return replace(
            presentation,
            audio=tuple(
                replace(one, rendition=_heard_as(one.rendition, label)) if one.rendition.track_index == index else one
                for one in presentation.audio
            ),
        )
    if isinstance(rendition, TextRendition):
        if label.role is not None and label.role not in list(TextRole):
            raise ConfigError(f"{label.role!r} is no role of text; use one of {', '.join(TextRole)}")
        programme = rendition.programme
        return replace(
            presentation,
            text=tuple(
                replace(one, rendition=_read_as(one.rendition, label)) if one.rendition.programme == programme else one
                for one in presentation.text
            ),
        )
    raise ConfigError(f"{label.track} is a picture; only sound and text have labels")


def _heard_as(rendition: AudioRendition, label: Label) -> AudioRendition:
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


def _read_as(rendition: TextRendition, label: Label) -> TextRendition:
    return replace(
        rendition,
        language=_language(label.language) or rendition.language,
        role=TextRole(label.role) if label.role else rendition.role,
        name=label.name or rendition.name,
    )


def _language(tag: str | None) -> str | None:
    return programmes_of_text.language(tag) if tag else None


def _with_default(presentation: Presentation, name: str) -> Presentation:
    chosen = _find(presentation, name)
    rendition = chosen.rendition
    if isinstance(rendition, AudioRendition):
        index = rendition.track_index
        return replace(
            presentation,
            audio=tuple(
                replace(one, rendition=replace(one.rendition, default=one.rendition.track_index == index))
                for one in presentation.audio
            ),
        )
    if any(track.id == chosen.id for track in presentation.video):
        return replace(
            presentation,
            video=tuple(
                replace(one, rendition=replace(one.rendition, default=one.id == chosen.id))
                for one in presentation.video
            ),
        )
    raise ConfigError(f"{name} can't be a default: only pictures and sound are played unasked")


def _ordered(presentation: Presentation, names: Sequence[str]) -> Presentation:
    for name in names:
        _find(presentation, name)

    def place(track: StoredTrack) -> int:
        return next((number for number, name in enumerate(names) if _is(track, name)), len(names))

    return replace(
        presentation,
        video=tuple(sorted(presentation.video, key=place)),
        audio=tuple(sorted(presentation.audio, key=place)),
        text=tuple(sorted(presentation.text, key=place)),
    )


# --- new text -----------------------------------------------------------------------------------------------------


def _programmes(
    choices: Sequence[TextChoice], settings: StoreSettings, presentation: Presentation
) -> tuple[TextTrack, ...]:
    """The programmes of text that are added; numbers and names go on behind those that there are."""
    if not choices:
        return ()
    duration_s = presentation.grid.duration_s
    beside = {
        choice.source: sidecars.aligned(sidecars.look(choice.source, settings.endpoint_url), None, duration_s)
        for choice in choices
    }
    nothing = Probe(_NO_MASTER, "", duration_s, None, (), ())
    chosen = programmes_of_text.choose(nothing, choices, beside, ())
    last = max((track.rendition.programme for track in presentation.text), default=0)
    taken = {track.rendition.name for track in presentation.text}
    return tuple(
        replace(track, number=last + number, name=_unique(track.name, taken))
        for number, track in enumerate(chosen, start=1)
    )


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} {number}", number + 1
    taken.add(unique)
    return unique


_NO_MASTER = Master("", 0, "", "")
"""Files of text stand alone."""


def _text_plan(presentation: Presentation, added: Sequence[TextTrack]) -> EncodePlan:
    written = programmes_of_text.renditions(added)
    digest = tool.digest() if added else ""
    by_number = {track.number: track for track in added}
    tracks = {
        one.id: planning.text_track_id(
            one, by_number[one.programme], presentation.grid, _NO_MASTER, presentation.grid.duration_s * 0, digest
        )
        for one in written
    }
    return EncodePlan(
        title=presentation.title,
        master=_NO_MASTER,
        ladder="",
        effort=Effort.STANDARD,
        tool=tool.version() if added else "",
        tool_digest=digest,
        grid=presentation.grid,
        decisions=(),
        video=(),
        audio=(),
        tasks=(),
        text=written,
        chunks=presentation.grid.chunks(),
        tracks=tracks,
    )


def _make_text(
    store: Store, settings: StoreSettings, plan: EncodePlan, added: Sequence[TextTrack]
) -> tuple[Track[TextRendition], ...]:
    """Cut the files of text that the store does not have yet, and give their tracks."""
    stock = take(store, plan)
    lacking = {rendition for rendition, _ in stock.missing(plan.tracks)}
    for track in added:
        ids = tuple(one.id for one in plan.text if one.programme == track.number and one.id in lacking)
        if ids:
            task = EncodeTask(
                id=planning.task_id(plan, plan.whole, ids),
                kind=Kind.TEXT,
                chunk=plan.whole,
                renditions=ids,
                argv=programmes_of_text.command(_NO_MASTER, (track,)),
                cost=0.0,
                text=(track,),
                start_s=track.start_s,
            )
            with TemporaryDirectory(prefix="headend-") as folder:
                stock.add(make_text(plan, task, settings, Path(folder)))
    made = fold(store, stock, plan.tracks)
    tidy(store, stock)
    return tuple(made[one.id] for one in plan.text)  # type: ignore[misc]
