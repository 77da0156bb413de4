"""Write the measured table of docs/masters.md and its pictures, of headend and shaka-streamer.

``python -m docs.images.masters [KIND …]``, a few minutes for all kinds; needs the development requirements, and PyPI
for the peer. Kinds that are not named keep their pictures and rows.
"""

import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from benchmarks.shaka import Shaka, install
from encoder import probing
from headend.core.media import Codec, Colour, VideoRange, VideoTrack
from headend.core.settings import Cropping, StoreSettings
from ladders.loading import load
from tests.support.colours import Array, delta_e, light_of, signal_from
from tests.support.dask_cluster import dask_processes
from tests.support.hard_masters import KINDS, PATCHES, HardMaster, Reading, read_picture
from tests.support.jobs import submit_small
from tests.support.masters import BEEP_S, master_of
from tests.support.playback import planes_of, track_bytes

PAGE = Path(__file__).parents[1] / "masters.md"
PICTURES = Path(__file__).with_name("masters")
ROWS = PICTURES / "measured.json"
BEGIN, END = "<!-- measured by docs/images/masters.py -->\n", "<!-- end -->\n"
SHOWN_PX = 180
MAX_STRETCH = 0.03
"""Largest change of the shape by rounding a small picture to even sizes."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a rendition shows: as text for the table, and the picture at the first flash."""

    text: str
    picture: Image.Image | None = None


def main(names: list[str]) -> None:
    """Measure the named kinds, or all, and write the page and the pictures."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    wanted = [kind for kind in KINDS if not names or kind.name in names]
    with tempfile.TemporaryDirectory() as temporary, dask_processes(Path(temporary)) as scheduler:
        folder = Path(temporary)
        peer = install(Path(tempfile.gettempdir()) / "headend-shaka-streamer")
        for kind in wanted:
            here = folder / slug(kind)
            here.mkdir()
            master = kind.make(here)
            decision, ours = through_headend(kind, master, here, scheduler)
            theirs = (
                through_shaka(kind, master, here, peer)
                if kind.crop is Cropping.NONE
                else Result("bars stay, unless a filter is written for the film")
            )
            rows[kind.name] = {"decision": decision, "headend": ours.text, "peer": theirs.text}
            for name, result in (("headend", ours), ("shaka", theirs)):
                place = PICTURES / f"{slug(kind)}-{name}.jpg"
                place.unlink(missing_ok=True)
                if result.picture:
                    result.picture.save(place, quality=85, optimize=True)
    rows = {kind.name: rows[kind.name] for kind in KINDS if kind.name in rows}
    ROWS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + table(rows) + END + rest.split(END)[1], encoding="utf-8")


def slug(kind: HardMaster) -> str:
    """The kind's name as a part of file names."""
    return re.sub(r"[^a-z0-9]+", "-", kind.name.lower()).strip("-")


def table(rows: dict[str, dict[str, str]]) -> str:
    """Return the table in Markdown."""
    lines = ["| master | headend | | shaka-streamer 1.5.1 | |", "|---|---|---|---|---|"]
    for kind in KINDS:
        row = rows[kind.name]
        cells = [f"**{kind.name}**: {kind.about}", f"{row['decision']}{row['headend']}", picture(kind, "headend")]
        lines.append("| " + " | ".join([*cells, row["peer"], picture(kind, "shaka")]) + " |")
    return "\n".join(lines) + "\n"


def picture(kind: HardMaster, name: str) -> str:
    """Return a link to a picture; empty if there is none."""
    path = PICTURES / f"{slug(kind)}-{name}.jpg"
    return f"![{kind.name}, {name}](images/masters/{path.name})" if path.exists() else ""


# --- the two encoders -------------------------------------------------------------------------------------------------


def through_headend(kind: HardMaster, master: Path, folder: Path, scheduler: str) -> tuple[str, Result]:
    """Encode with headend; return its decision, and what the largest H.264 and AAC renditions show."""
    store = StoreSettings(str(folder / "store"))
    done = submit_small(master, store, scheduler, ladder=load("smoke"), **kind.submit_options(folder))
    presentation = done.outcome.presentation
    avc = max(
        (track for track in presentation.video if track.rendition.codec is Codec.AVC),
        key=lambda track: track.rendition.width_px,
    )
    aac = next((track for track in presentation.audio if track.rendition.codec is Codec.AAC), None)
    lines = done.outcome.plan.decisions
    decision = next((line for line in lines if kind.decided and kind.decided in line), "")
    result = measure(
        kind,
        track_bytes(done.store, presentation, avc),
        track_bytes(done.store, presentation, aac) if aac else None,
        folder,
    )
    return (f"“{decision.replace(f'{folder}/', '')}”. " if decision else ""), result


def through_shaka(kind: HardMaster, master: Path, folder: Path, peer: Shaka) -> Result:
    """Encode with unchanged shaka-streamer: one rung of H.264 in the same box, and AAC."""
    tracks = ["video", *(["audio"] if kind.sound else [])]
    settings = {
        "input": {"inputs": [{"name": str(master), "media_type": track} for track in tracks]},
        "pipeline": {
            "streaming_mode": "vod", "quiet": True, "segment_size": 0.5, "video_codecs": ["h264"],
            "audio_codecs": ["aac"], "resolutions": ["180p"],
            # It makes no sound if the master has fewer channels than this layout.
            "channel_layouts": [kind.sound[0].layout] if kind.sound else ["stereo"],
            "manifest_format": ["dash", "hls"],
        },
        "bitrate": {
            # Scope pictures are wider than the box; shaka-streamer only looks at the height.
            "video_resolutions": {
                "180p": {"max_width": max(320, kind.size[0]), "max_height": 180, "bitrates": {"h264": "500k"}},
                # This one is not encoded, but without it larger masters are refused.
                "1080p": {"max_width": 1920, "max_height": 1080, "bitrates": {"h264": "5M"}},
            }
        },
    }  # fmt: skip
    args = []
    for name, document in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
        args += [f"-{name[0]}", str(folder / f"{name}.json")]
    program = peer.python.with_name("shaka-streamer")
    out = folder / "out"
    done = subprocess.run(
        [str(peer.python), str(program), *args, "-o", str(out), "--skip-deps-check"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    parts = {track: sorted(out.glob(f"{track}_*.mp4"), key=part_number) for track in ("video", "audio")}
    if not parts["video"]:
        lines = (done.stdout + done.stderr).splitlines()
        messages = [line for line in lines if line and not line.startswith(("+ ", "Waiting", "Error opening"))]
        return Result(f"no result: `{re.sub(r'.*?] ', '', messages[0])[:120] if messages else 'no message'}`")
    media = {track: b"".join(part.read_bytes() for part in files) for track, files in parts.items()}
    return measure(kind, media["video"], media["audio"] or None, folder)


def part_number(path: Path) -> int:
    """Number of a file in its stream; 0 is the init segment."""
    last = path.stem.rpartition("_")[2]
    return int(last) if last.isdigit() else 0


# --- measuring -------------------------------------------------------------------------------------------------


def measure(kind: HardMaster, video: bytes, audio: bytes | None, folder: Path) -> Result:
    """Measure a rendition as a player would show it."""
    path = folder / "measured.mp4"
    path.write_bytes(video)
    track = probing.probe(master_of(path), str(path)).video
    assert track is not None
    readings: list[tuple[float, Reading]] = []
    shown = None
    flash_s = float(kind.times_s[kind.flashes[0]] - kind.times_s[kind.frames[0]])
    for frame in decoded(video):
        time_s = float(frame.pts * frame.time_base)
        readings.append((time_s, read_picture(planes_of(frame), track.bit_depth)))
        if shown is None and time_s >= flash_s:
            shown = frame
    numbers = [reading.number for _, reading in readings]
    wanted = kind.frames[:: 2 if kind.frame_rate > 60 else 1]
    words = [f"{len(numbers)} frames at {rate(track)}", f"{track.width_px}×{track.height_px}"]
    if track.sample_aspect_ratio != 1:
        words[-1] += f" with pixels of {track.sample_aspect_ratio}"
    shape = kind.rendition_size[0] / kind.rendition_size[1]
    if abs(track.width_px * float(track.sample_aspect_ratio) / track.height_px / shape - 1) > MAX_STRETCH:
        words[-1] += ", **stretched**"
    if track.rotation_deg:
        words[-1] += f", to be turned by {track.rotation_deg}°"
    # A peer may keep 120 frames per second or uneven times; then no picture is lost.
    as_drawn = numbers in (list(wanted), list(range(kind.pictures)))
    words.append("each picture in its place" if as_drawn else fault(numbers, wanted))
    words.append(colours(kind, track, [reading for _, reading in readings]))
    if kind.sound and not audio:
        words.append("**no sound**")
    if audio:
        words.append(sync([time_s for time_s, _ in flashes(readings)], audio))
    return Result("; ".join(words), as_picture(shown, track) if shown else None)


def decoded(data: bytes) -> Iterator[av.VideoFrame]:
    """Decode all frames of a rendition."""
    with av.open(io.BytesIO(data)) as container:
        yield from container.decode(video=0)


def rate(track: VideoTrack) -> str:
    """Return the frames per second as text."""
    uneven = "" if track.constant_rate else " (uneven)"
    return f"{float(track.frame_rate):.3f}".rstrip("0").rstrip(".") + uneven


def fault(numbers: list[int | None], wanted: tuple[int, ...]) -> str:
    """Describe what is wrong with the pictures."""
    read = [number for number in numbers if number is not None]
    found = {
        "missing": len(set(wanted) - set(read)),
        "repeated": len(read) - len(set(read)) - (len(wanted) - len(set(wanted))),
        "blended or combed": len(numbers) - len(read),
        "not to be shown": len(set(read) - set(wanted)),
    }
    faults = [f"{count} {what}" for what, count in found.items() if count > 0]
    return f"**{', '.join(faults) or 'order differs'}**"


def colours(kind: HardMaster, track: VideoTrack, readings: list[Reading]) -> str:
    """Describe the largest colour difference of the patches, as a player decodes them."""
    meant = as_played(track.colour)
    codes = np.mean([reading.patches for reading in readings], axis=0)
    light = light_of(signal_from(codes, meant, track.bit_depth), meant)
    worst = max(delta_e(played, drawn) for played, drawn in zip(light, PATCHES, strict=True))
    text = f"ΔE ≤ {worst:.1f}"
    if worst > kind.most_delta_e:
        text = f"**{text}**"
    if track.video_range is not VideoRange.SDR:
        text += f", **{track.video_range} in {track.bit_depth} bits of H.264**"
    return text


def as_played(stated: Colour) -> Colour:
    """Fill in what players assume for colour values that a stream does not state: BT.709, limited range."""
    usual = Colour("bt709", "bt709", "bt709", "tv", "left")
    names = ("primaries", "transfer", "matrix", "range", "chroma_location")
    return Colour(*(getattr(usual if getattr(stated, name) == "unknown" else stated, name) for name in names))


def flashes(readings: list[tuple[float, Reading]]) -> list[tuple[float, Reading]]:
    """Return the first frame of each flash."""
    bands = np.array([reading.band for _, reading in readings])
    bright = bands > (bands.min() + bands.max()) / 2
    return [readings[number] for number in np.flatnonzero(bright & ~np.roll(bright, 1))]


def sync(flashes_s: list[float], audio: bytes) -> str:
    """Describe the distance of beeps from flashes, by the times that the streams state."""
    with av.open(io.BytesIO(audio)) as container:
        resampler = av.AudioResampler(format="fltp")
        blocks = [block for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    hz = blocks[0].sample_rate
    start_s = float(blocks[0].pts * blocks[0].time_base)
    loud = np.abs(np.concatenate([block.to_ndarray() for block in blocks], axis=1)[0])
    loud_samples = np.flatnonzero(loud > loud.max() / 4)
    begins = loud_samples[np.diff(loud_samples, prepend=-(10**6)) > float(BEEP_S) * hz]
    beeps_s = [start_s + float(sample) / hz for sample in begins]
    if len(beeps_s) != len(flashes_s):
        return f"**{len(beeps_s)} beeps, {len(flashes_s)} flashes**"
    late_ms = [round(1000 * (beep - flash)) for beep, flash in zip(beeps_s, flashes_s, strict=True)]
    worst = max(late_ms, key=abs)
    if abs(worst) <= 1:
        return "sound on picture"
    text = f"sound {abs(worst)} ms {'late' if worst > 0 else 'early'}"
    return f"**{text}**" if abs(worst) > 20 else text


def as_picture(frame: av.VideoFrame, track: VideoTrack) -> Image.Image:
    """Return the frame as a player shows it on an sRGB screen."""
    colour = as_played(track.colour)
    luma, *chroma = (plane.astype(float) for plane in planes_of(frame))
    wide = [np.kron(plane, np.ones((2, 2)))[: luma.shape[0], : luma.shape[1]] for plane in chroma]
    light = light_of(signal_from(np.stack([luma, *wide], axis=-1), colour, track.bit_depth), colour)
    image = Image.fromarray(np.rint(255 * srgb(light)).astype(np.uint8))
    width = round(track.width_px * float(track.sample_aspect_ratio) * SHOWN_PX / track.height_px / 2)
    image = image.resize((width, SHOWN_PX // 2), Image.Resampling.LANCZOS)
    return image.rotate(-track.rotation_deg, expand=True)


def srgb(light: Array) -> Array:
    """Encode light for an sRGB screen (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


if __name__ == "__main__":
    main(sys.argv[1:])
