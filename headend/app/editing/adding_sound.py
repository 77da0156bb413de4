"""Adding sound from other files to a title: sound that fits the film is encoded to the renditions of its ladder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from encoder import cluster, programmes, sandbox, tool
from encoder.costs import Calibration, measured
from encoder.languages import standardized
from encoder.probing import SOUND_CONTAINERS
from encoder.sound.work import SoundPlanner
from encoder.timelines import policy as timing
from headend.app import failures
from headend.app.editing import encrypting_sound
from headend.app.performing import perform
from headend.app.request import Event, Planned, Step
from headend.app.task_context import context_of
from headend.core.errors import ConfigError, DamagedMaster, MasterError
from headend.core.media import (
    AudioFile,
    AudioLadder,
    AudioRendition,
    AudioRole,
    AudioRung,
    AudioTrack,
    Codec,
    Effort,
    EncodePlan,
    Presentation,
    Probe,
    Track,
)
from headend.core.settings import (
    DEFAULT_LOUDNESS_LUFS,
    DEFAULT_MOST_SOUND_GAP_S,
    AudioChoice,
    AudioFileChoice,
    ClusterSettings,
    KeySettings,
    StoreSettings,
)
from headend.core.storage import Store, masters
from ladders.programmes import fit_programme, numbered
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts

TOLERANCE_S = Fraction(1, 5)
"""How much shorter or longer than the film a file's sound may be.

Codecs and containers change the length by up to two codec frames, and editors cut sound at picture frames: less than
0.1 s in all, which is inaudible at the end of a film. A file for another cut or frame rate is off by more: the 0.1 %
between 24 and 23.976 frames/s are 0.2 s after 200 s.
"""


@dataclass(frozen=True, slots=True)
class Added:
    """A programme of sound to add to a title.

    Attributes:
        origin: The file that it comes from.
        plan: The plan of its tracks, which are encrypted if the title is.
        work: Makes the tasks of the plan.
    """

    origin: AudioFile
    plan: EncodePlan
    work: SoundPlanner


def plan_sound(
    choices: Sequence[AudioFileChoice],
    settings: StoreSettings,
    presentation: Presentation,
    known: Calibration,
    on_event: Callable[[Event], None],
) -> tuple[Added, ...]:
    """Probe files of sound, and plan their tracks.

    Args:
        choices: The files.
        settings: The store, which also names the S3 endpoint of the files.
        presentation: The release to extend, from `encrypting_sound.with_keys`.
        known: Ratios of measured to predicted costs.
        on_event: Called with every event.

    Raises:
        ConfigError: A language is invalid, or a file is given twice or is in the title already.
        MasterError: A file can't be read, has no sound or several programmes, or does not fit the film.
    """
    for choice in choices:
        standardized(choice.language, "--add-audio")
    if len({choice.source for choice in choices}) < len(choices):
        raise ConfigError("--add-audio: a file is given twice; name each once")
    if sum(choice.role is AudioRole.MAIN for choice in choices) > 1:
        raise ConfigError("--add-audio: only one programme can be main; give the others another role")
    added: list[Added] = []
    labels = {track.rendition.id.split("-", 3)[3] for track in presentation.audio}
    names = {track.rendition.name for track in presentation.audio}
    last = max((track.rendition.track_index for track in presentation.audio), default=0)
    for number, choice in enumerate(choices, start=last + 1):
        on_event(Step(f"reading {choice.source}"))
        programme = _plan_programme(choice, settings, presentation, known, number, labels, names)
        digest = programme.origin.file.digest
        if any(digest == other.file.digest for other in (*presentation.audio_files, *_origins(added))):
            raise ConfigError(
                f"{presentation.title!r} has the sound of {choice.source} already: remove it first with --remove"
            )
        added.append(programme)
    return tuple(added)


def make(
    added: Added,
    store: Store,
    settings: StoreSettings,
    workers: ClusterSettings,
    on_event: Callable[[Event], None],
    run: cluster.RunTasks = cluster.run_tasks,
    keys: KeySettings | None = None,
) -> tuple[Mapping[str, Track[AudioRendition]], int]:
    """Encode the tracks of a programme that the store does not have.

    Args:
        added: The programme.
        store: Where its tracks go.
        settings: The settings of that store, for workers.
        workers: Where it is encoded.
        on_event: Called with every event.
        run: Runs the tasks.
        keys: Where workers get content keys from; None for a clear title.

    Returns:
        The tracks by their names in the plan, and the number of renditions that were encoded.

    Raises:
        EncodingError: A task failed all its attempts.
        MasterError: The file has changed, or is damaged.
        StorageError: The store failed.
    """
    stored = find_stored_parts(store, added.plan)
    reused, done = tuple(stored.indexed), stored.done
    wanted = frozenset((added.plan.encoded_for(name), chunk) for name, chunk in set(added.plan.parts) - done)
    plan = replace(added.plan, tasks=tuple(added.work.tasks(added.plan, wanted)))
    on_event(Planned(plan, len(done), reused))

    def note(event: cluster.Event) -> None:
        if isinstance(event, cluster.Done):
            stored.add(event.receipt)
        elif isinstance(event, cluster.Failed):
            failures.record(store, plan.title, event, on_event)
        on_event(event)

    try:
        run(plan.tasks, partial(perform, context_of(plan, settings, keys)), workers, note, tool=plan.tool)
    except DamagedMaster as error:
        places = ", ".join(error.facts.get("damage", ()))
        raise MasterError(f"{plan.master.url} is damaged at {places}; deliver it again") from None
    tracks = merge_parts(store, stored, plan.tracks)
    remove_receipts(store, stored)
    return tracks, len(wanted)  # type: ignore[return-value]


def check_length(file: str, title: str, programme: AudioTrack, *, start_s: Fraction, film_s: Fraction) -> None:
    """Check that sound ends when the film does.

    Args:
        file: The file with the sound; named in the error.
        title: Catalogue entry; named in the error.
        programme: The sound.
        start_s: Start of the film, in the file's time.
        film_s: Duration of the film.

    Raises:
        MasterError: The sound ends more than `TOLERANCE_S` before or after the film.
    """
    end_s = programme.start_s + programme.duration_s - start_s
    if abs(end_s - film_s) > TOLERANCE_S:
        differs = "shorter" if end_s < film_s else "longer"
        raise MasterError(
            f"{file} has {float(end_s):.3f} s of sound and {title!r} lasts {float(film_s):.3f} s: it is "
            f"{float(abs(end_s - film_s)):.3f} s {differs}, and {float(TOLERANCE_S):g} s are allowed. "
            "Deliver sound for this cut and frame rate",
            sound_s=float(end_s),
            film_s=float(film_s),
        )


def _plan_programme(
    choice: AudioFileChoice,
    settings: StoreSettings,
    presentation: Presentation,
    known: Calibration,
    number: int,
    labels: set[str],
    names: set[str],
) -> Added:
    probe = _probed(choice, settings)
    [programme] = programmes.choose(probe.audio, [_choice_of(choice, probe)])
    start_s = probe.video.start_s if probe.video else programme.start_s
    _check(choice.source, presentation, programme, probe, start_s)
    main = choice.role is AudioRole.MAIN or not presentation.audio
    sound = presentation.sound or _ladder_of(presentation)
    label = numbered(programme.language, labels, "-")
    name = numbered(programme.title or programme.language, names, " ")
    renditions = tuple(
        replace(rendition, track_index=number)
        for rendition in fit_programme(sound.rungs, programme, label=label, name=name, main=main)
    )
    work = SoundPlanner(
        master=probe.master,
        programmes={number: programme},
        grid=presentation.grid,
        start_s=start_s,
        loudness_lufs=sound.loudness_lufs,
        costs=known.applied(measured()),
        tool_digest=tool.digest(),
        compressed=sound.compressed,
        containers=SOUND_CONTAINERS,
    )
    plan = EncodePlan(
        title=presentation.title,
        master=probe.master,
        ladder="",
        effort=Effort.STANDARD,
        tool=tool.version(),
        tool_digest=tool.digest(),
        grid=presentation.grid,
        decisions=(),
        video=(),
        audio=renditions,
        tasks=(),
        chunks=presentation.grid.chunks(),
        tracks={rendition.id: work.track_id(rendition) for rendition in renditions},
    )
    return Added(
        AudioFile(number, probe.master, programme.index, start_s), encrypting_sound.encrypted(plan, presentation), work
    )


def _probed(choice: AudioFileChoice, settings: StoreSettings) -> Probe:
    master = masters.identify(choice.source, settings.endpoint_url)
    with masters.opened(master, settings.endpoint_url) as source:
        return sandbox.probe_sound(master, source.url, progress=source.progress)


def _choice_of(choice: AudioFileChoice, probe: Probe) -> AudioChoice:
    """Choose the only programme of a file, with the given language, role and name."""
    audible = [track for track in probe.audio if track.channels]
    if not audible:
        raise MasterError(f"{choice.source} has no sound: its tracks are empty; deliver it again")
    if len(audible) > 1:
        candidates = ", ".join(f"{track.index} ({track.language}, {track.layout})" for track in audible)
        raise MasterError(
            f"{choice.source} has {len(audible)} tracks of sound: {candidates}. Extract one first: "
            f"'ffmpeg -i {choice.source} -map 0:{audible[0].index} -c copy one.mka'"
        )
    return AudioChoice((audible[0].index,), choice.language, choice.role, choice.name)


def _check(file: str, presentation: Presentation, programme: AudioTrack, probe: Probe, start_s: Fraction) -> None:
    if not programme.speakers:
        raise MasterError(
            f"{file} has {programme.channels} channels in an unknown layout; deliver mono, stereo, 5.1 or 7.1"
        )
    check_length(file, presentation.title, programme, start_s=start_s, film_s=presentation.grid.duration_s)
    timing.check(probe.master, [programme], start_s=start_s, max_s=DEFAULT_MOST_SOUND_GAP_S, option="")


def _origins(added: Sequence[Added]) -> tuple[AudioFile, ...]:
    return tuple(sound.origin for sound in added)


def _ladder_of(presentation: Presentation) -> AudioLadder:
    """Derive the audio ladder of a release that doesn't record it, from its tracks."""
    kinds = {(t.rendition.codec, t.rendition.layout, t.rendition.bit_rate_bps // 1000) for t in presentation.audio}
    rungs = [AudioRung(*rung, every_programme=True, default=rung[0] is Codec.AAC) for rung in sorted(kinds)]
    if not rungs:
        raise ConfigError(f"{presentation.title!r} has no sound and records no ladder: submit its master again")
    return AudioLadder(tuple(rungs), DEFAULT_LOUDNESS_LUFS)
