"""Measures the cost of encryption: for workers, for samples of each codec, and for encrypting a clear title.

A worker's tasks run in this process one after another, alternating between clear and encrypted, so that the difference
is the total cost of encryption: opening keys, parsing headers, AES, boxes, and the second pass of the upload.
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import clips, licences
from benchmarks.clips import Mezzanine
from benchmarks.licences import Licences, Segments
from encoder.cluster import Done, Perform, TaskRun
from headend.app import deciding, encrypting, pipeline
from headend.app.performing import perform
from headend.app.request import Request
from headend.app.task_context import context_of
from headend.core import layout
from headend.core.keys import ContentKey, lines
from headend.core.media import AnyTrack, Effort, EncodeTask, Presentation, Receipt, Scheme
from headend.core.media.protection import key_names
from headend.core.settings import ClusterSettings, EncodeSettings, KeySettings, ProtectionSettings, StoreSettings
from headend.core.storage import Store, open_store
from ladders import choosing, loading
from packager.fragments import fragment_bytes, read_fragments
from packager.protecting import protection_of
from packager.reading import current_presentation

FRAMES, QUICK_FRAMES = 240, 48
ROUNDS, QUICK_ROUNDS = 3, 1
LONG_FRAMES, QUICK_LONG_FRAMES = 1440, 480
"""One minute, so that the fixed cost of writing a track is a small share, as in films."""
RUNGS = ("avc-234p-*", "avc-720p-1850k", "hevc-234p-*", "hevc-720p-2400k", "av1-234p-*", "av1-720p-1270k", "vp9-234p-*",
         "vp9-720p-2540k", "aac-2.0-128k", "opus-2.0-128k", "ac3-2.0-*", "eac3-2.0-*")  # fmt: skip
"""The smallest pictures of each codec, whose samples cost most per byte, and some of 1280x720."""
SAMPLE_ROUNDS = 9
"""The minimum of these rounds is reported, because they are short and easily disturbed."""
LARGE_RUNGS = ("avc-720p-*",)
LADDER = "studio"
TITLE = "film"
OVERHEAD_GOAL = 0.01
"""Maximum overhead of encryption, as a share of a worker's CPU time."""
SAMPLE_GOALS_US = {"avc": 25, "hevc": 25, "vp9": 25, "av1": 50, "aac": 10, "opus": 10, "ac3": 10, "eac3": 10}
RATE_GOAL_BYTES = 100e6
"""Minimum rate at which a core encrypts a clear title, for renditions of at least 2 Mb/s."""
MIN_BPS = 2_000_000
LOAD_S, QUICK_LOAD_S = 4, 1
"""Duration of a load test in seconds."""
LICENCE_GOAL = 1000
P99_GOAL_MS = 5
ORIGIN_GOAL = 0.03


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's CPU seconds; medians over rounds.

    Attributes:
        encoding_s: CPU seconds of its encoders.
        clear_s: Its own CPU seconds for clear tracks.
        encrypted_s: Its own CPU seconds for encrypted tracks.
    """

    encoding_s: float
    clear_s: float
    encrypted_s: float

    @property
    def overhead(self) -> float:
        """Cost of encryption as a share of all CPU time."""
        return (self.encrypted_s - self.clear_s) / (self.encoding_s + self.clear_s)


@dataclass(frozen=True, slots=True)
class Samples:
    """Additional cost of encrypting a rendition's samples, compared with writing them in the clear.

    Attributes:
        rendition: Id of the rendition.
        scheme: Encryption scheme.
        samples: Number of samples.
        bytes_per_sample: Mean size of a clear sample.
        sample_us: CPU microseconds per sample; minimum over rounds.
        growth_bytes: Additional bytes per sample.
    """

    rendition: str
    scheme: str
    samples: int
    bytes_per_sample: float
    sample_us: float
    growth_bytes: float


@dataclass(frozen=True, slots=True)
class Whole:
    """Cost of encrypting a clear title.

    Attributes:
        clear_bytes: Bytes read.
        cpu_s: CPU seconds; minimum over rounds.
    """

    clear_bytes: int
    cpu_s: float

    @property
    def bytes_per_s(self) -> float:
        """Bytes that a core encrypts per second."""
        return self.clear_bytes / self.cpu_s


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        frames: Frames of the film.
        renditions: Number of renditions.
        worker: A worker's CPU seconds with ``cbcs``.
        samples: Cost by rendition and scheme.
        whole: Cost of encrypting all renditions of at least 2 Mb/s with ``cbcs``.
        licences: Cost of licences.
        segments: Cost of serving encrypted segments.
    """

    frames: int
    renditions: int
    worker: Worker
    samples: tuple[Samples, ...]
    whole: Whole
    licences: Licences
    segments: Segments


def measure(*, quick: bool, on_step: Callable[[str], None]) -> Report:
    """Run the benchmark; takes about five minutes, or one if ``quick``."""
    frames, rounds = (QUICK_FRAMES, QUICK_ROUNDS) if quick else (FRAMES, ROUNDS)
    with TemporaryDirectory(prefix="headend-") as name:
        folder = Path(name)
        master = _film(folder, frames)
        keys = _keys(folder / "keys")
        on_step("running a worker's tasks, clear and encrypted")
        worker = _worker(master, folder, keys, rounds)
        settings = StoreSettings(str(folder / "clear"))
        store = open_store(settings)
        pipeline.submit(_request(master, settings, None), run=_run)
        clear = current_presentation(store, TITLE)
        on_step("encrypting samples of each rendition")
        samples = tuple(_samples(store, clear))
        on_step("requesting licences")
        key_file = Path(keys.address)
        load_s = QUICK_LOAD_S if quick else LOAD_S
        licensed = licences.measure_licences(TITLE, key_file, folder, rounds=rounds, seconds=load_s)
        on_step("serving clear and encrypted segments")
        encrypting.encrypt(settings, TITLE, ProtectionSettings((Scheme.CBCS,), keys))
        encrypted = current_presentation(store, TITLE)
        served = licences.measure_segments(settings.url, clear, encrypted, folder, rounds=rounds, seconds=load_s)
        on_step("encrypting the clear title")
        whole = _whole(_film(folder, QUICK_LONG_FRAMES if quick else LONG_FRAMES), folder)
    return Report(frames, len(clear.video) + len(clear.audio), worker, samples, whole, licensed, served)


def findings(report: Report) -> Iterator[str]:
    """Yield the conclusions with their targets, one line each."""
    worker = report.worker
    yield (
        f"encryption adds {worker.overhead:.2%} to the CPU of a worker's tasks (target: {OVERHEAD_GOAL:.0%}): "
        f"{worker.encrypted_s - worker.clear_s:.2f} s, compared with {worker.encoding_s:.1f} s of encoders"
    )
    for codec, goal_us in SAMPLE_GOALS_US.items():
        mine = [one for one in report.samples if one.rendition.startswith(f"{codec}-") and one.scheme == "cbcs"]
        if mine:
            took_us = sum(one.sample_us * one.samples for one in mine) / sum(one.samples for one in mine)
            yield f"a sample of {codec} takes {took_us:.1f} µs with cbcs (target: {goal_us} µs)"
    yield (
        f"headend protect encrypts {report.whole.bytes_per_s / 1e6:.0f} MB/s on a core (target: at least "
        f"{RATE_GOAL_BYTES / 1e6:.0f})"
    )
    licensed, served = report.licences, report.segments
    yield (
        f"the licence service serves {1e6 / licensed.cpu_us:,.0f} licences per CPU second (target: at least "
        f"{LICENCE_GOAL:,}); {licensed.requests_per_s:,.0f} per second with the load on the same machine, 99 % of them "
        f"within {licensed.p99_ms:.1f} ms (target: {P99_GOAL_MS} ms)"
    )
    yield (
        f"the origin takes {served.encrypted_us:.0f} µs of CPU for an encrypted segment and {served.clear_us:.0f} µs "
        f"for a clear one: {served.change:+.1%} (target: at most {ORIGIN_GOAL:.0%})"
    )


def _film(folder: Path, frames: int) -> Path:
    picture = clips.make_master(Mezzanine.H264, clips.locate(), folder, frames, None)
    return clips.with_sound(picture, folder / f"film-{frames}.mp4")


def _request(
    master: Path, store: StoreSettings, protection: ProtectionSettings | None, rungs: Sequence[str] = RUNGS
) -> Request:
    encode = EncodeSettings(chunk_s=Fraction(12), effort=Effort.DRAFT, thumbnails=False)
    ladder = choosing.select(loading.load(LADDER), rungs=rungs)
    return Request(str(master), TITLE, ladder, store, ClusterSettings(workers=1), encode, protection=protection)


def _run(
    tasks: Sequence[EncodeTask],
    perform_task: Perform,
    _settings: ClusterSettings,
    on_event: Callable[[Done], None],
    **_others: object,
) -> None:
    for task in tasks:
        on_event(Done(_perform(task, perform_task)))


def _perform(task: EncodeTask, perform_task: Perform) -> Receipt:
    with TemporaryDirectory(prefix="headend-") as name:
        run = TaskRun(task, 1, "here", Path(name), lambda: False, lambda _: None, lambda: None)
        receipt: Receipt = perform_task(run)
        return receipt


def _keys(path: Path) -> KeySettings:
    names = [name for scheme in (Scheme.CBCS, Scheme.CENC) for name in key_names(TITLE, scheme)]
    path.write_text(lines.write(ContentKey(name, bytes([number]) * 16) for number, name in enumerate(names)))
    path.chmod(0o600)
    return KeySettings(str(path))


def _worker(master: Path, folder: Path, keys: KeySettings, rounds: int) -> Worker:
    settings = {"clear": None, "sealed": ProtectionSettings((Scheme.CBCS,), keys)}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    for number in range(rounds):
        for name, protection in settings.items():
            store = StoreSettings(str(folder / f"{name}-{number}"))
            request = _request(master, store, protection)
            plan = deciding.plan_for(request, deciding.inspect(request.master, store))
            context = context_of(plan, store, keys)
            own_s, children_s = time.process_time(), _children_s()
            for task in plan.tasks:
                _perform(task, partial(perform, context))
            spent[name].append((time.process_time() - own_s, _children_s() - children_s))
    encoding_s = median(children_s for runs in spent.values() for _, children_s in runs)
    clear_s, encrypted_s = (median(own_s for own_s, _ in spent[name]) for name in settings)
    return Worker(encoding_s, clear_s, encrypted_s)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _samples(store: Store, clear: Presentation) -> Iterator[Samples]:
    tracks: tuple[AnyTrack, ...] = (*clear.video, *clear.audio)
    for track in tracks:
        init = store.get(layout.track_init(TITLE, track.id))
        bodies = [store.get(layout.track_segment(TITLE, track.id, segment.number)) for segment in track.segments]
        parts = [
            (one, body[one.media : one.media + sum(sample.size_bytes for sample in one.samples)])
            for body in bodies
            for one in read_fragments(body)
        ]
        count = sum(len(one.samples) for one, _ in parts)
        for scheme in (Scheme.CBCS, Scheme.CENC):
            key = ContentKey(key_names(TITLE, scheme)[1], bytes(range(16)))
            protector = protection_of([key], kids=[key.name.kid], salt=b"salt")(init)
            spent_s = []
            for _ in range(SAMPLE_ROUNDS):
                started_s = time.process_time()
                plain = [fragment_bytes(1, one.decode_ticks, one.samples, media) for one, media in parts]
                between_s = time.process_time()
                sealed = [
                    protector.fragment(1, one.decode_ticks, one.samples, media, first=0, segment=1)
                    for one, media in parts
                ]
                spent_s.append(time.process_time() - between_s - (between_s - started_s))
            yield Samples(
                rendition=track.rendition.id,
                scheme=scheme.value,
                samples=count,
                bytes_per_sample=sum(len(media) for _, media in parts) / count,
                sample_us=1e6 * min(spent_s) / count,
                growth_bytes=(sum(map(len, sealed)) - sum(map(len, plain))) / count,
            )


def _whole(master: Path, folder: Path) -> Whole:
    """Encrypt pictures with high bitrates; `_samples` measures small samples."""
    settings = StoreSettings(str(folder / "long"))
    pipeline.submit(_request(master, settings, None, LARGE_RUNGS), run=_run)
    store = open_store(settings)
    clear = current_presentation(store, TITLE)
    large = [track for track in clear.video if track.average_bps >= MIN_BPS]
    large = large or [max(clear.video, key=lambda track: track.average_bps)]
    key = ContentKey(key_names(TITLE, Scheme.CBCS)[2], bytes(range(16)))
    spent_s = []
    for number in range(SAMPLE_ROUNDS):
        started_s = time.process_time()
        for track in large:
            protect = protection_of([key], kids=[key.name.kid], salt=b"salt")
            encrypting.encrypted(store, TITLE, track, f"{track.rendition.id}-{number:010x}", protect)
        spent_s.append(time.process_time() - started_s)
    return Whole(sum(track.total_bytes for track in large), min(spent_s))
