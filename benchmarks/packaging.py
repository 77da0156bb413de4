"""Measures publishing a film, from receipts to manifests, in a store in memory.

The title is synthetic and has no media; publishing doesn't read media. The store has no latency: on S3, add the time
of a listing of all objects, a read per receipt and init segment, and a write per manifest.
"""

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import TypeVar

from benchmarks.synthetic import inits_of, plan_of, receipts_of
from headend.core import documents, layout
from headend.core.manifests import dash, hls
from headend.core.manifests.outline import outline_of
from headend.core.media import AudioRendition, Codec, EncodePlan, VideoRendition
from headend.core.storage.base import ObjectInfo
from headend.core.storage.memory import MemoryStore
from headend.core.timing import plan_grid
from packager import publishing, reading
from packager.presentation import assemble
from packager.stored_parts import find_stored_parts, merge_parts

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
    """Cost of a step.

    Attributes:
        name: Name of the step.
        wall_s: Seconds from start to end.
        cpu_s: CPU seconds of this process.
    """

    name: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """Cost of packaging a title.

    Attributes:
        hours: Length of the title.
        renditions: Video and audio renditions.
        segments: Media segments of all renditions.
        objects: Objects in the store after publishing.
        index_bytes: Size of the indexes of all tracks.
        manifest_bytes: Size of all playlists and the MPD.
        steps: The steps, in order.
        peak_memory_bytes: Peak resident memory of this process, including the synthetic title.
    """

    hours: float
    renditions: int
    segments: int
    objects: int
    index_bytes: int
    manifest_bytes: int
    steps: tuple[Step, ...]
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class SizesOnlyStore(MemoryStore):
    """A store in memory that lists media segments with their sizes, but has no bytes of them.

    Attributes:
        sizes: For each track's folder, segment sizes by key.
    """

    sizes: dict[str, dict[str, int]] = field(default_factory=dict)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        now = datetime.now(UTC)
        folder, found = prefix.rstrip("/"), []
        for name, sizes in self.sizes.items():
            if name.startswith(folder) or folder.startswith(name):
                found += [ObjectInfo(key, size, now, "") for key, size in sizes.items() if key.startswith(prefix)]
        found += MemoryStore.list(self, prefix)
        return iter(sorted((info for info in found if info.key > after), key=lambda info: info.key))

    def keys(self, prefix: str) -> Iterator[str]:
        return (info.key for info in self.list(prefix))


def film_plan(hours: float) -> EncodePlan:
    """Make the plan of a 2160p SDR title with 5.1 sound."""
    grid = plan_grid(FRAME_RATE, max(1, round(hours * 3600 * FRAME_RATE)), segment_s=SEGMENT_S, chunk_s=CHUNK_S)
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
    """Publish a synthetic film and measure each step.

    First the steps run one by one; the step ``publish`` then runs all of them.
    """
    plan = film_plan(hours)
    inits = inits_of(plan)
    store = store_with_parts(plan, inits)
    steps: list[Step] = []

    def timed(name: str, act: Callable[[], Result]) -> Result:
        wall, cpu = time.perf_counter(), time.process_time()
        result = act()
        steps.append(Step(name, time.perf_counter() - wall, time.process_time() - cpu))
        return result

    stored = timed("list objects", lambda: find_stored_parts(store, plan))
    tracks = timed("merge receipts into indexes", lambda: merge_parts(store, stored, plan.tracks))
    presentation = assemble(plan, tracks)
    video = [track for track in presentation.video if hls.in_hls(track)]
    listed = [track for track in presentation.all_tracks if hls.in_hls(track)]
    grid = presentation.grid
    timed("media playlists", lambda: [hls.media_playlist(track, grid) for track in listed])
    timed("I-frame playlists", lambda: [hls.iframe_playlist(track, grid) for track in video])
    timed("multivariant playlist", lambda: hls.multivariant(outline_of(presentation)))
    timed("MPD", lambda: dash.mpd(outline_of(presentation)))
    timed("publish", lambda: publishing.publish(store, presentation))
    timed("publish again", lambda: publishing.publish(store, presentation))
    timed("read back", lambda: reading.current_presentation(store, plan.title))
    return Report(
        hours=hours,
        renditions=len(plan.video) + len(plan.audio),
        segments=sum(len(track.segments) for track in presentation.all_tracks),
        objects=sum(1 for _ in store.list(layout.TITLES)),
        index_bytes=sum(
            info.size_bytes for info in MemoryStore.list(store, layout.TITLES) if info.key.endswith("/index")
        ),
        manifest_bytes=sum(len(data) for data in publishing.manifests(presentation).values()),
        steps=tuple(steps),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def store_with_parts(plan: EncodePlan, inits: dict[str, bytes]) -> SizesOnlyStore:
    """Make a store with the objects that workers write: segment sizes, init segments and receipts."""
    store, title = SizesOnlyStore(), plan.title
    for rendition, init in inits.items():
        store.put(layout.track_init(title, plan.tracks[rendition]), init)
    for receipt in receipts_of(plan):
        store.put(layout.receipt(title, receipt.task), documents.write(receipt))
        for track in receipt.tracks:
            sizes = store.sizes.setdefault(layout.track_path(title, track.track), {})
            for segment in track.segments:
                sizes[layout.track_segment(title, track.track, segment.number)] = segment.size_bytes
    return store
