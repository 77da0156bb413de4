"""What it takes to publish a film: receipts to presentation to manifests, in a store in memory.

The title is synthetic, so no media is read; publishing moves none either. The store answers at once: on S3, add a
listing of all objects, a read per receipt and init segment, and a write per manifest.
"""

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import TypeVar

from benchmarks.synthetic import inits_of, plan_of, receipts_of
from headend import documents, layout
from headend.media import AudioRendition, Codec, EncodePlan, VideoRendition
from headend.storage.base import ObjectInfo
from headend.storage.memory import MemoryStore
from headend.timing import lay_grid
from packager import dash, hls, publishing
from packager.presentation import all_tracks, assemble

FRAME_RATE = Fraction(24000, 1001)
SEGMENT_S, CHUNK_S = Fraction(6), Fraction(30)
SIZES = {
    Codec.AVC: (234, 234, 360, 432, 432, 540, 720, 720, 1080, 1080),
    Codec.HEVC: (360, 432, 540, 540, 540, 720, 720, 1080, 1080, 1440, 2160, 2160),
    Codec.AV1: (360, 432, 540, 540, 540, 720, 720, 1080, 1080, 1440, 2160, 2160),
    Codec.VP9: (360, 432, 540, 540, 720, 720, 1080, 1080, 2160),
}
"""Heights of the video renditions of a 2160p title: 43."""
RATES_KBPS = {
    (Codec.AAC, "2.0"): (64, 96, 128, 160),
    (Codec.AAC, "5.1"): (320,),
    (Codec.OPUS, "2.0"): (48, 96, 128),
    (Codec.OPUS, "5.1"): (256,),
    (Codec.AC3, "2.0"): (192,),
    (Codec.AC3, "5.1"): (384,),
    (Codec.EAC3, "2.0"): (128,),
    (Codec.EAC3, "5.1"): (192, 384),
}
"""Audio renditions of one language: 14."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Step:
    """What a step took.

    Attributes:
        name: The step.
        wall_s: Seconds from start to end.
        cpu_s: CPU seconds of this process.
    """

    name: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What packaging a title took.

    Attributes:
        hours: Length of the title.
        renditions: Video and audio renditions.
        segments: Media segments of all renditions.
        objects: Objects in the store after publishing.
        manifest_bytes: Size of all playlists, the MPD and the release document.
        steps: In order.
        peak_memory_bytes: Peak resident memory of this process, the synthetic title included.
    """

    hours: float
    renditions: int
    segments: int
    objects: int
    manifest_bytes: int
    steps: tuple[Step, ...]
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class HollowStore(MemoryStore):
    """A store that knows media segments by their size alone; everything else is really there."""

    sizes: dict[str, int] = field(default_factory=dict)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        now = datetime.now(UTC)
        hollow = (ObjectInfo(key, size, now, "") for key, size in self.sizes.items() if key.startswith(prefix))
        return iter(sorted((*hollow, *MemoryStore.list(self, prefix)), key=lambda info: info.key))


def film(hours: float) -> EncodePlan:
    """The plan of a 2160p SDR title with 5.1 sound."""
    grid = lay_grid(FRAME_RATE, max(1, round(hours * 3600 * FRAME_RATE)), segment_s=SEGMENT_S, chunk_s=CHUNK_S)
    video = [
        VideoRendition(
            id=f"{codec}-{height}p-{number}",
            codec=codec,
            width_px=2 * round(height * 8 / 9),
            height_px=height,
            frame_rate=FRAME_RATE,
            rate_divisor=1,
            average_bps=height * height * 3 + number * 100_000,
            cap_bps=height * height * 6,
            buffer_bits=height * height * 9,
            crf=23.0,
            profile="main",
            level="4.0",
            pixel_format="yuv420p",
            default=codec is Codec.AVC and number == 5,
        )
        for codec, heights in SIZES.items()
        for number, height in enumerate(heights)
    ]
    audio = [
        AudioRendition(
            id=f"{codec}-{name}-{rate}k-en",
            codec=codec,
            layout=name,
            channels=2 if name == "2.0" else 6,
            bit_rate_bps=rate * 1000,
            sample_rate_hz=48_000,
            track_index=1,
            language="en",
            name="English",
            default=True,
        )
        for (codec, name), rates in RATES_KBPS.items()
        for rate in rates
    ]
    return plan_of(grid, video, audio)


def measure(hours: float) -> Report:
    """Publish a synthetic film and say what each step took.

    The steps of `packager.publishing.publish` are taken one by one first; ``publish`` is all of them at once.
    """
    plan = film(hours)
    inits = inits_of(plan)
    store = _stored(plan, inits)
    keys = {info.key for info in store.list(layout.release_path(plan.title, plan.release))}
    steps: list[Step] = []

    def timed(name: str, act: Callable[[], Result]) -> Result:
        wall, cpu = time.perf_counter(), time.process_time()
        result = act()
        steps.append(Step(name, time.perf_counter() - wall, time.process_time() - cpu))
        return result

    receipts = timed("read receipts", lambda: publishing.read_receipts(store, plan, keys))
    presentation = timed("assemble", lambda: assemble(plan, receipts.values(), inits.__getitem__))
    video = [track for track in presentation.video if hls.in_hls(track)]
    listed = [track for track in all_tracks(presentation) if hls.in_hls(track)]
    grid = presentation.grid
    timed("media playlists", lambda: [hls.media_playlist(track, grid) for track in listed])
    timed("I-frame playlists", lambda: [hls.iframe_playlist(track, grid) for track in video])
    timed("multivariant playlist", lambda: hls.multivariant(presentation))
    timed("MPD", lambda: dash.mpd(presentation))
    timed("release document", lambda: documents.write(presentation))
    timed("publish", lambda: publishing.publish(store, plan))
    timed("publish again", lambda: publishing.publish(store, plan))
    return Report(
        hours=hours,
        renditions=len(plan.video) + len(plan.audio),
        segments=sum(len(track.segments) for track in all_tracks(presentation)),
        objects=sum(1 for _ in store.list(layout.TITLES)),
        manifest_bytes=sum(len(data) for data in publishing.manifests(presentation).values()),
        steps=tuple(steps),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _stored(plan: EncodePlan, inits: dict[str, bytes]) -> HollowStore:
    """What the workers would have left."""
    store = HollowStore()
    for rendition, init in inits.items():
        store.put(layout.init(plan.title, plan.release, rendition), init)
    for receipt in receipts_of(plan):
        store.put(layout.receipt(plan.title, plan.release, receipt.task), documents.write(receipt))
        for track in receipt.tracks:
            for segment in track.segments:
                key = layout.segment(plan.title, plan.release, track.rendition, segment.number)
                store.sizes[key] = segment.size_bytes
    return store
