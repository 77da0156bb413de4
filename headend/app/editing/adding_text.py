"""Adding files of text to a title: a plan of the tracks that they become, and the tracks."""

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
from ladders.fitting import numbered
from packager.stock import fold, take, tidy

_NO_MASTER = Master("", 0, "", "")
"""Files of text stand alone."""


def programmes(
    choices: Sequence[TextChoice], settings: StoreSettings, presentation: Presentation
) -> tuple[TextTrack, ...]:
    """Look at files of text; numbers and names of their programmes go on behind those that there are.

    Raises:
        ConfigError: A language is none.
        MasterError: A file can't be read, or does not fit the film.
    """
    if not choices:
        return ()
    for choice in choices:
        standardized(choice.language or "", "--add-subtitles")
    duration_s = presentation.grid.duration_s
    beside = {
        choice.source: sidecars.aligned(sidecars.identify(choice.source, settings.endpoint_url), None, duration_s)
        for choice in choices
    }
    nothing = Probe(_NO_MASTER, "", duration_s, None, (), ())
    chosen = programmes_of_text.choose(nothing, choices, beside, ())
    last = max((track.rendition.programme for track in presentation.text), default=0)
    taken = {track.rendition.name for track in presentation.text}
    return tuple(
        replace(track, number=last + number, name=numbered(track.name, taken, " "))
        for number, track in enumerate(chosen, start=1)
    )


def plan(presentation: Presentation, added: Sequence[TextTrack]) -> EncodePlan:
    """What becomes of programmes of text; nothing where there are none.

    Raises:
        ConfigError: The title has that text already.
    """
    written = programmes_of_text.renditions(added, {t.rendition.id.partition("-")[2] for t in presentation.text})
    digest = tool.digest() if added else ""
    by_number = {track.number: track for track in added}
    tracks = {
        one.id: planning.text_track_id(
            one, by_number[one.programme], presentation.grid, _NO_MASTER, Fraction(0), digest
        )
        for one in written
    }
    # The same text in the same language is known by its digest, whatever its programme is called.
    there = {track.id[-TRACK_CHARACTERS:] for track in presentation.text}
    if twice := [track for track in tracks.values() if track[-TRACK_CHARACTERS:] in there]:
        raise ConfigError(f"{presentation.title!r} has that text already: {twice[0]}")
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


def make(
    store: Store, settings: StoreSettings, plan: EncodePlan, added: Sequence[TextTrack]
) -> Mapping[str, Track[TextRendition]]:
    """Cut the files of text that the store does not have yet, and give their tracks by the ids of their renditions."""
    stock = take(store, plan)
    lacking = {rendition for rendition, _ in stock.missing(plan.tracks)}
    for track in added:
        ids = tuple(one.id for one in plan.text if one.programme == track.number and one.id in lacking)
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
                stock.add(make_text(plan, task, settings, Path(folder)))
    made = fold(store, stock, plan.tracks)
    tidy(store, stock)
    return made  # type: ignore[return-value]
