"""Adding sidecars to a title: the plan of their tracks, and the tracks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import planning, tool
from encoder import text as programmes_of_text
from encoder.identities import TRACK_CHARACTERS, task_id
from encoder.languages import standardized
from encoder.subtitles import sidecars
from headend.app.performing import make_text
from headend.core.errors import ConfigError
from headend.core.media import (
    Effort,
    EncodePlan,
    EncodeTask,
    Kind,
    Master,
    Presentation,
    Probe,
    TextRendition,
    TextTrack,
    Track,
)
from headend.core.settings import StoreSettings, TextChoice
from headend.core.storage import Store
from ladders.programmes import numbered
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts

_NO_MASTER = Master("", 0, "", "")
"""Sidecars need no master."""


def programmes(
    choices: Sequence[TextChoice], settings: StoreSettings, presentation: Presentation
) -> tuple[TextTrack, ...]:
    """Read sidecars; number and name their programmes after the existing ones.

    Raises:
        ConfigError: A language is invalid.
        MasterError: A file can't be read, or does not fit the film.
    """
    if not choices:
        return ()
    for choice in choices:
        standardized(choice.language or "", "--add-subtitles")
    duration_s = presentation.grid.duration_s
    files = {
        choice.source: sidecars.align(sidecars.identify(choice.source, settings.endpoint_url), None, duration_s)
        for choice in choices
    }
    nothing = Probe(_NO_MASTER, "", duration_s, None, (), ())
    chosen = programmes_of_text.choose(nothing, choices, files, ())
    last = max((track.rendition.programme for track in presentation.text), default=0)
    taken = {track.rendition.name for track in presentation.text}
    return tuple(
        replace(track, number=last + number, name=numbered(track.name, taken, " "))
        for number, track in enumerate(chosen, start=1)
    )


def plan(presentation: Presentation, added: Sequence[TextTrack]) -> EncodePlan:
    """Plan the tracks of programmes of text.

    Raises:
        ConfigError: The title has the same text already.
    """
    renditions = programmes_of_text.renditions(added, {t.rendition.id.partition("-")[2] for t in presentation.text})
    digest = tool.digest() if added else ""
    by_number = {track.number: track for track in added}
    tracks = {
        rendition.id: planning.text_track_id(
            rendition, by_number[rendition.programme], presentation.grid, _NO_MASTER, Fraction(0), digest
        )
        for rendition in renditions
    }
    # The end of a track's id is a digest of its text and language, whatever the programme is called.
    existing = {track.id[-TRACK_CHARACTERS:]: track.rendition.id for track in presentation.text}
    for track in tracks.values():
        if found := existing.get(track[-TRACK_CHARACTERS:]):
            raise ConfigError(
                f"{presentation.title!r} has that text already: {found}; change its role or name with --relabel"
            )
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
        text=renditions,
        chunks=presentation.grid.chunks(),
        tracks=tracks,
    )


def make(
    store: Store, settings: StoreSettings, plan: EncodePlan, added: Sequence[TextTrack]
) -> Mapping[str, Track[TextRendition]]:
    """Cut the sidecars that the store does not have; return all tracks by rendition id."""
    stored = find_stored_parts(store, plan)
    missing = {rendition for rendition, _ in stored.missing(plan.tracks)}
    for track in added:
        ids = tuple(
            text_track.id
            for text_track in plan.text
            if text_track.programme == track.number and text_track.id in missing
        )
        if ids:
            task = EncodeTask(
                id=task_id(plan, plan.whole, ids),
                kind=Kind.TEXT,
                chunk=plan.whole,
                renditions=ids,
                argv=programmes_of_text.command(_NO_MASTER, (track,)),
                cost=0.0,
                text=(track,),
                start_s=track.start_s,
            )
            with TemporaryDirectory(prefix="headend-") as folder:
                stored.add(make_text(plan, task, settings, Path(folder)))
    tracks = merge_parts(store, stored, plan.tracks)
    remove_receipts(store, stored)
    return tracks  # type: ignore[return-value]
