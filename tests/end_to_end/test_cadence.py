"""Masters whose frames are not the grid's: fields, film in disguise, uneven times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headend.errors import MasterError
from headend.media import VideoRendition
from headend.settings import StoreSettings
from packager.conformance import verify
from tests.support.frame_numbers import draw_frame
from tests.support.jobs import Published, submit_small
from tests.support.masters import make_film, run_ffmpeg
from tests.support.playback import frame_numbers, frames, luma_of, track_bytes

SIZE = (320, 240)
FIRST_GREY, GREY_STEP = 40, 3


def numbers_of(published: Published) -> dict[str, list[int | None]]:
    presentation = published.outcome.presentation
    return {
        track.rendition.id: frame_numbers(track_bytes(published.store, presentation, track))
        for track in presentation.video
    }


def divisor_of(published: Published, rendition: str) -> int:
    found: VideoRendition = next(r for r in published.outcome.plan.video if r.id == rendition)
    return found.rate_divisor


def field_film(path: Path, *, fields: int, first: str, flagged: bool) -> Path:
    """An interlaced film: above, a bar that moves with every field; below, a grey that gets a step lighter with it.

    Frame numbers would not do: what flickers with every field can't be told from fine lines by any deinterlacer.
    """
    width, height = 640, 480
    raw = bytearray()
    for field in range(fields):
        luma = np.full((height, width), FIRST_GREY + GREY_STEP * field, dtype=np.uint8)
        luma[: height // 2] = 60
        left = 8 * field % (width - 80)
        luma[: height // 2, left : left + 80] = 200
        raw += luma.tobytes() + bytes([128]) * (width * height // 2)
    flags = ["-flags", "+ildct+ilme", *(["-x264-params", "bff=1"] if first == "bff" else [])] if flagged else []
    run_ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", "50", "-i", "-",
        "-vf", f"interlace=scan={first}:lowpass=off,setfield={first if flagged else 'prog'}",
        "-c:v", "libx264", "-crf", "8", "-preset", "veryfast", "-g", "25", *flags, str(path),
        stdin=bytes(raw),
    )  # fmt: skip
    return path


def greys_of(published: Published) -> dict[str, list[float]]:
    """How light the lower part of each frame is, counted in fields."""
    found = {}
    for track in published.outcome.presentation.video:
        data = track_bytes(published.store, published.outcome.presentation, track)
        levels = [luma_of(frame)[-luma_of(frame).shape[0] // 3 : -4].mean() for frame in frames(data)]
        deep = track.rendition.pixel_format.endswith("10le")
        found[track.rendition.id] = [(level / (4 if deep else 1) - FIRST_GREY) / GREY_STEP for level in levels]
    return found


@pytest.mark.parametrize(("first", "flagged"), [("tff", True), ("bff", True), ("tff", False)])
def test_every_field_becomes_a_frame(first: str, flagged: bool, tmp_path: Path, scheduler: str) -> None:
    fields = 60
    master = field_film(tmp_path / "master.mp4", fields=fields, first=first, flagged=flagged)
    published = submit_small(master, StoreSettings(str(tmp_path / "store")), scheduler)
    assert published.outcome.plan.grid.frame_rate == 50
    assert f"interlaced {first}" in published.outcome.plan.decisions[0]
    for rendition, greys in greys_of(published).items():
        wanted = np.arange(0, fields, divisor_of(published, rendition))
        assert len(greys) == len(wanted), rendition
        # Wrong order, a repeated or a missing field would be off by a whole step and more.
        assert np.abs(np.array(greys) - wanted)[2:-2].max() < 0.8, rendition
    assert verify(published.store, "film").findings == ()


def test_telecine_gives_back_the_film(tmp_path: Path, scheduler: str) -> None:
    film_frames = 96
    master = make_film(
        tmp_path / "master.mp4",
        frame_rate=Fraction(24000, 1001),
        frame_count=film_frames,
        size=(640, 480),
        filters="telecine=first_field=top:pattern=23,setfield=tff",
        codec_args=["-crf", "8", "-preset", "veryfast", "-g", "25", "-flags", "+ildct+ilme"],
    )
    published = submit_small(master, StoreSettings(str(tmp_path / "store")), scheduler)
    assert published.outcome.plan.grid.frame_rate == Fraction(24000, 1001)
    assert "telecine" in published.outcome.plan.decisions[0]
    assert published.outcome.plan.grid.frame_count == film_frames
    for rendition, numbers in numbers_of(published).items():
        assert numbers == list(range(film_frames)), rendition


def variable_film(path: Path, times_ms: list[int]) -> Path:
    """A film whose frames are shown at given times; the container counts in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "10", "preset": "veryfast", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            planes = np.frombuffer(draw_frame(number, *SIZE), np.uint8).reshape(SIZE[1] * 3 // 2, SIZE[0])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_uneven_times_are_put_on_the_grid_frame_by_frame(tmp_path: Path, scheduler: str) -> None:
    rng = np.random.default_rng(7)
    # 30 frames a second with jitter, a stretch at 15, and two hiccups.
    gaps = [33] * 40 + [67] * 15 + [33] * 30 + [200] + [33] * 20 + [10] + [33] * 12
    times = np.concatenate([[0], np.cumsum(gaps)]) + rng.integers(-3, 4, len(gaps) + 1)
    times_ms = [int(time) for time in np.maximum.accumulate(times - times[0])]
    master = variable_film(tmp_path / "master.mkv", times_ms)
    published = submit_small(master, StoreSettings(str(tmp_path / "store")), scheduler)
    rate = published.outcome.plan.grid.frame_rate
    assert "variable frame rate" in published.outcome.plan.decisions[0]
    ticks = [int(Fraction(time, 1000) * rate + Fraction(1, 2)) for time in times_ms]
    wanted = [max(n for n, tick in enumerate(ticks) if tick <= at) for at in range(ticks[-1] + 1)]
    assert len(published.outcome.plan.grid.chunks()) >= 3
    for rendition, numbers in numbers_of(published).items():
        assert numbers == wanted[:: divisor_of(published, rendition)], rendition


def test_a_slide_show_is_refused_with_the_figure(tmp_path: Path, scheduler: str) -> None:
    times_ms = [0, 40, 80, *range(1000, 60000, 1733)]
    master = variable_film(tmp_path / "master.mkv", times_ms)
    with pytest.raises(MasterError, match=r"unevenly that \d+ %"):
        submit_small(master, StoreSettings(str(tmp_path / "store")), scheduler)
