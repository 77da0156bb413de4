"""What the tasks of a plan have in common, in a form small enough to be sent with each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headend.core.codecs import AUDIO
from headend.core.media import Codec, EncodePlan, KeyName, Master, Schedule, TextRendition, Thumbnails
from headend.core.settings import KeySettings, StoreSettings
from headend.core.timing import Grid
from packager import encrypted_tracks

_FRAME_SAMPLES = {codec.codec: codec.frame_samples for codec in AUDIO}


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a worker needs beside the task itself.

    Attributes:
        store: Where segments go.
        title: Catalogue entry.
        master: The master to read.
        tool: FFmpeg's version line, for people.
        tool_digest: SHA-256 of the FFmpeg program; workers with another one refuse the task.
        grid: Segment boundaries.
        tracks: The track of each rendition, by the rendition's id.
        divisors: N of renditions that keep one frame in N, by id.
        vp9_levels: Levels of VP9 renditions, by id.
        sample_rate_hz: Sample rate of all sound.
        frame_samples: Samples per codec frame of each audio rendition, by id.
        text: Text renditions.
        thumbnails: Layout of the sheets; None for no thumbnails.
        allow_damaged: Whether damage in the master is recorded instead of failing the task.
        logged: Whether workers log their tasks.
        submission: Random id of the submission; a task that is run again reuses a receipt with the same id. Empty for
            no reuse.
        encrypted: The encrypted tracks of each rendition, by its id, each with its keys, one per period.
        kids: Ids of all keys that init segments list, by scheme.
        schedules: When encryption begins and keys change, by scheme.
        keys: Where keys come from; None for a clear title.
    """

    store: StoreSettings
    title: str
    master: Master
    tool: str
    tool_digest: str
    grid: Grid
    tracks: Mapping[str, str]
    divisors: Mapping[str, int]
    vp9_levels: Mapping[str, str]
    sample_rate_hz: int
    frame_samples: Mapping[str, int]
    text: tuple[TextRendition, ...]
    thumbnails: Thumbnails | None = None
    allow_damaged: bool = False
    logged: bool = False
    submission: str = ""
    encrypted: Mapping[str, tuple[tuple[str, tuple[KeyName, ...]], ...]] = field(default_factory=dict)
    kids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    keys: KeySettings | None = None


def context_of(
    plan: EncodePlan,
    store: StoreSettings,
    keys: KeySettings | None = None,
    *,
    logged: bool = False,
    submission: str = "",
) -> TaskContext:
    """Collect what workers need for any task of a plan."""
    encrypted: dict[str, tuple[tuple[str, tuple[KeyName, ...]], ...]] = {}
    protections = {protection.scheme: protection for protection in plan.protection}
    for name, encryption in plan.sealings.items():
        pair = plan.tracks[name], tuple(map(protections[encryption.scheme].name, encryption.kids))
        encrypted[encryption.rendition] = (*encrypted.get(encryption.rendition, ()), pair)
    return TaskContext(
        store=store,
        title=plan.title,
        master=plan.master,
        tool=plan.tool,
        tool_digest=plan.tool_digest,
        grid=plan.grid,
        tracks=plan.tracks,
        divisors={r.id: r.rate_divisor for r in (*plan.video, *plan.trick) if r.rate_divisor > 1},
        vp9_levels={r.id: r.level for r in (*plan.video, *plan.trick) if r.codec is Codec.VP9},
        sample_rate_hz=plan.audio[0].sample_rate_hz if plan.audio else 0,
        frame_samples={r.id: _FRAME_SAMPLES[r.codec] for r in plan.audio},
        text=plan.text,
        thumbnails=plan.thumbnails,
        allow_damaged=plan.allow_damaged,
        logged=logged,
        submission=submission,
        encrypted=encrypted,
        kids={scheme: encrypted_tracks.kids_of(plan.title, protection) for scheme, protection in protections.items()},
        schedules={scheme: protection.schedule for scheme, protection in protections.items()},
        keys=keys,
    )
