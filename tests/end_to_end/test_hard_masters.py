"""Every kind of master: each frame once and in its place, sound in sync, colours and metadata as delivered."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from encoder import probing
from headend.core import layout
from headend.core.errors import MasterError
from headend.core.media import (
    AudioRendition,
    Codec,
    FieldOrder,
    MasteringDisplay,
    Presentation,
    Track,
    VideoRange,
    VideoRendition,
    VideoTrack,
)
from headend.core.settings import StoreSettings
from ladders import loading
from ladders.ladder import Ladder, RungRange
from packager.conformance import verify
from tests.support.colours import delta_e, light_of, signal_from
from tests.support.dask_cluster import dask_cluster
from tests.support.deliveries import smallest_ladder
from tests.support.hard_masters import BT709, KINDS, PATCHES, HardMaster, Reading, read_picture
from tests.support.jobs import Published, submit_small
from tests.support.marks import repeated
from tests.support.masters import BEEP_S, master_of, run_ffmpeg
from tests.support.other_masters import KINDS as OTHERS
from tests.support.playback import frames, planes_of, sound, track_bytes
from tests.support.text import shown, track_cues
from tests.support.uneven_masters import KINDS as UNEVEN
from tests.support.uneven_masters import UnevenMaster

SMOKE = loading.load("smoke")
LARGE = tuple(rung for rung in SMOKE.video if rung.height_px == 180)


def ladder_of(kind: HardMaster) -> Ladder:
    """Return the smallest ladder for the test: H.264, also at half the rate, or every codec."""
    if not kind.all_codecs:
        rungs = SMOKE.video if kind.frame_rate > 30 else LARGE
        return replace(
            SMOKE,
            video=tuple(rung for rung in rungs if rung.codec is Codec.AVC),
            audio=tuple(rung for rung in SMOKE.audio if rung.layout == "2.0" and rung.codec in (Codec.AAC, Codec.EAC3)),
        )
    kept = [replace(rung, range=RungRange.HDR) for rung in LARGE if rung.codec in (Codec.HEVC, Codec.AV1)]
    return replace(SMOKE, video=(*LARGE, *kept), audio=SMOKE.audio[:2])


SIMILAR = {
    "59.94 frames a second", "mirrored", "BT.2020 in SDR", "4:4:4, 12 bits, full range", "begins at 10 s, open GOPs",
    "sound too long", "HEVC, open GOPs", "clean aperture, Matroska", "TTML beside it", "scope, 2.39:1",
}  # fmt: skip
"""Kinds of which each ordinary run has a very similar one."""


@pytest.mark.parametrize(
    "kind",
    [repeated(kind) if kind.name in SIMILAR else kind for kind in KINDS],
    ids=lambda kind: kind.name,
)
def test_renditions_show_what_the_master_means(kind: HardMaster, tmp_path: Path, scheduler: str) -> None:
    master = kind.make(tmp_path)
    delivered = picture_of(master)
    published = submit_small(
        master,
        StoreSettings(str(tmp_path / "store")),
        scheduler,
        ladder=ladder_of(kind),
        **kind.submit_options(tmp_path),
    )
    plan, presentation = published.outcome.plan, published.outcome.presentation
    assert plan.grid.frame_rate == kind.frame_rate
    assert len(plan.grid.chunks()) >= 2
    assert any(kind.decided in line for line in plan.decisions), plan.decisions
    largest = max(presentation.video, key=lambda track: track.rendition.width_px)
    assert (largest.rendition.width_px, largest.rendition.height_px) == kind.rendition_size

    flashes_s: dict[str, list[float]] = {}
    for track in presentation.video:
        readings = readings_of(published, track)
        divisor = track.rendition.rate_divisor
        assert [reading.number for reading in readings] == list(kind.frames[::divisor]), track.rendition.id
        flashes_s[track.rendition.id] = flashes_of(readings, float(track.rendition.frame_rate))
        copy = tmp_path / f"{track.rendition.id}.mp4"
        copy.write_bytes(track_bytes(published.store, presentation, track))
        check_metadata(kind, delivered, track.rendition, decoded := picture_of(copy))
        check_colours(kind, track.rendition, decoded, readings)
    for audio in presentation.audio:
        check_sync(kind, audio, beeps_of(published, audio), flashes_s)
    assert bool(presentation.audio) == bool(kind.sound)
    for written in presentation.text:
        cues = tuple(shown(track_cues(published.store, presentation, written)))
        assert (written.rendition.id.partition("-")[2], cues) in kind.says, written.rendition.id
    programmes = {written.rendition.id.partition("-")[2] for written in presentation.text}
    assert programmes == {programme for programme, _ in kind.says}
    assert tuple(str(one) for one in presentation.damage) == kind.damage

    assert verify(published.store, "film").findings == ()
    for manifest in (layout.multivariant, layout.mpd):
        check_clean(presentation, tmp_path / "store" / manifest("film", presentation.release))


@pytest.mark.heavy
@pytest.mark.timeout(1800)  # seven workers must start first, on a machine that may be busy
@pytest.mark.parametrize("kind", (*KINDS, *UNEVEN, *OTHERS), ids=lambda kind: kind.name)
def test_five_workers_make_the_same_tracks_as_two(
    kind: HardMaster | UnevenMaster, tmp_path: Path, scheduler: str, five_workers: str
) -> None:
    master = kind.make(tmp_path)
    options, ladder = {}, smallest_ladder()
    if isinstance(kind, HardMaster):
        options, ladder = kind.submit_options(tmp_path), ladder_of(kind)
    tracks: list[Mapping[str, str] | str] = []
    for name, cluster in (("two", scheduler), ("five", five_workers)):
        store = StoreSettings(str(tmp_path / name))
        try:
            submit_small(master, store, cluster, ladder=ladder, **options)
        except MasterError as refused:
            tracks.append(refused.message)
        else:
            tracks.append(digests_of(tmp_path / name / "titles/film/tracks"))

    assert tracks[0] == tracks[1]
    assert tracks[0]


@pytest.fixture(scope="module")
def five_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("five"), workers=5) as cluster:
        yield cluster.address


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def readings_of(published: Published, track: Track[VideoRendition]) -> list[Reading]:
    data = track_bytes(published.store, published.outcome.presentation, track)
    depth = 10 if track.rendition.pixel_format.endswith("10le") else 8
    return [read_picture(planes_of(frame), depth) for frame in frames(data)]


def flashes_of(readings: list[Reading], frame_rate: float) -> list[float]:
    """Return the times at which the band begins to flash, in seconds."""
    bands = np.array([reading.band for reading in readings])
    bright = bands > (bands.min() + bands.max()) / 2
    return [float(number) / frame_rate for number in np.flatnonzero(bright & ~np.roll(bright, 1))]


def picture_of(path: Path) -> VideoTrack:
    found = probing.probe(master_of(path), str(path)).video
    assert found is not None
    return found


def check_metadata(kind: HardMaster, delivered: VideoTrack, rendition: VideoRendition, decoded: VideoTrack) -> None:
    """The rendition's metadata is the master's, or BT.709 after tone mapping."""
    tone_mapped = kind.hdr and rendition.video_range is VideoRange.SDR
    narrowed = kind.wide and decoded.bit_depth == 8
    meant, colour = BT709 if tone_mapped or narrowed else kind.colour, decoded.colour
    assert (colour.primaries, colour.transfer, colour.matrix) == (meant.primaries, meant.transfer, meant.matrix)
    assert colour.range == "tv", rendition.id
    display = None if tone_mapped else delivered.mastering_display
    # AV1 rounds these numbers in its own way.
    assert numbers_of(decoded.mastering_display) == pytest.approx(numbers_of(display), abs=1e-4), rendition.id
    assert decoded.content_light == (None if tone_mapped else delivered.content_light), rendition.id
    assert (decoded.sample_aspect_ratio, decoded.rotation_deg, decoded.field_order) == (1, 0, FieldOrder.PROGRESSIVE)
    assert not decoded.mirrored
    assert decoded.frame_rate == rendition.frame_rate == kind.frame_rate / rendition.rate_divisor
    assert (decoded.width_px, decoded.height_px) == (rendition.width_px, rendition.height_px)


def numbers_of(display: MasteringDisplay | None) -> list[float]:
    if display is None:
        return []
    places = (display.red_xy, display.green_xy, display.blue_xy, display.white_xy)
    return [float(number) for number in (*chain(*places), display.min_nits, display.max_nits)]


def check_colours(kind: HardMaster, rendition: VideoRendition, decoded: VideoTrack, readings: list[Reading]) -> None:
    """The patches have the light that was drawn, decoded by the rendition's metadata."""
    codes = np.mean([reading.patches for reading in readings], axis=0)
    light = light_of(signal_from(codes, decoded.colour, decoded.bit_depth), decoded.colour)
    apart = [delta_e(seen, drawn) for seen, drawn in zip(light, PATCHES, strict=True)]
    # A patch of a small picture has few samples, and the low rate damages some of them.
    coarse = 1.5 if min(rendition.width_px, rendition.height_px) < 100 else 1.0
    assert max(apart) <= coarse * kind.most_delta_e, (rendition.id, apart)


def beeps_of(published: Published, track: Track[AudioRendition]) -> list[float]:
    """Start of each beep, in seconds."""
    loud = np.abs(sound(track_bytes(published.store, published.outcome.presentation, track))[0])
    loud_samples = np.flatnonzero(loud > loud.max() / 4)
    begins = np.diff(loud_samples, prepend=-(10**6)) > float(BEEP_S) * 48_000
    return [float(sample) / 48_000 for sample in loud_samples[begins]]


def check_sync(
    kind: HardMaster, audio: Track[AudioRendition], beeps_s: list[float], flashes_s: dict[str, list[float]]
) -> None:
    """Each beep is on its flash at both ends, and sound and picture are equally long."""
    frame_s = float(1 / kind.frame_rate)
    for picture, flashes in flashes_s.items():
        assert len(flashes) == 2, picture
        assert beeps_s == pytest.approx(flashes, abs=float(kind.sync_frames) * frame_s), (audio.rendition.id, picture)
    total = sum(part.duration_ticks for part in audio.segments) - audio.priming_samples
    assert total == round(len(kind.frames) / kind.frame_rate * audio.rendition.sample_rate_hz)


def check_clean(presentation: Presentation, manifest: Path) -> None:
    """FFmpeg decodes everything that a manifest names, without a warning, and with each frame exactly once."""
    # skip_manual: FFmpeg's DASH demuxer puts the init segment before each segment and would drop priming each time.
    output = run_ffmpeg(
        # fpsprobesize: to find the rate of a set with few pictures, it would read a short title to its end, twice.
        "-xerror", "-flags2", "+skip_manual", "-fpsprobesize", "0", "-i", str(manifest), "-map", "0:v", "-map", "0:a?",
        "-fps_mode", "passthrough", "-f", "framecrc", "-",
    ).decode()  # fmt: skip
    kinds = dict(re.findall(r"^#media_type (\d+): (\w+)$", output, re.MULTILINE))
    streams = Counter(line.partition(",")[0] for line in output.splitlines() if not line.startswith("#"))
    dash = manifest.suffix == ".mpd"
    named = [track for track in presentation.video if dash or track.rendition.codec is not Codec.VP9]
    named += (
        presentation.trick if dash else ()
    )  # in HLS, only I-frame playlists lead to it, which FFmpeg does not follow
    decoded = [count for stream, count in streams.items() if kinds[stream] == "video"]
    assert sorted(decoded) == sorted(sum(part.samples for part in track.segments) for track in named), manifest.name
