"""Times that FFmpeg computes are exact for a day: here FFmpeg itself computes them, far from the start."""

import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, product
from math import floor
from typing import Any

import ffmpeg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encoder import timestamps, tool
from encoder.command import SideOutputs, SourcePicture, VideoCommands
from encoder.conforming import Cadence, Conformed
from encoder.probing import STANDARD_RATES
from encoder.sound.command import audio_command, loudness_target
from headend.core.media import AudioTrack, Effort, FieldOrder, Thumbnails
from headend.core.timing import plan_grid
from tests.support.makers import (
    BT709,
    make_audio_rendition,
    make_audio_track,
    make_frame_index,
    make_master,
    make_video_rendition,
    make_video_track,
)

DAY_S = 24 * 3600
Filters = Callable[[Any], Any]

odd_rates = st.builds(Fraction, st.integers(8_192, 1_900_000), st.integers(7_900, 8_192)).filter(
    lambda rate: rate <= 240
)
frame_rates = st.one_of(st.sampled_from(STANDARD_RATES), odd_rates)
few = settings(deadline=None, max_examples=12)


def computed(source: str, filters: Filters, *, before: int = 0, **options: Any) -> tuple[Fraction, list[int]]:
    """Return the time base and times that FFmpeg computes for a source.

    Args:
        source: A source of lavfi.
        filters: Applied to the source.
        before: Number of earlier frames or samples, which is added to their number ``N``.
        options: Options of the input.
    """
    stream = filters(ffmpeg.input(source, f="lavfi", **options))
    words = ffmpeg.get_args(ffmpeg.output(stream, "-", f="framecrc", fps_mode="passthrough", enc_time_base="filter"))
    if before:
        words = [re.sub(r"\bN\b", f"(N+{before})", word) for word in words]
    argv = [tool.ffmpeg_path(), "-v", "error", "-copyts", *words]
    listing = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    (base,) = re.findall(r"^#tb 0: (.*)$", listing, re.MULTILINE)
    return Fraction(base), [int(line.split(",")[2]) for line in listing.splitlines() if line.startswith("0,")]


@few
@given(frame_rates, st.fractions(0, 1))
@example(Fraction(240), Fraction(1))
@example(Fraction(240_000, 1001), Fraction(1))
def test_frames_are_at_their_numbers_after_a_day(rate: Fraction, share: Fraction) -> None:
    before = int(DAY_S * rate * share)

    times = computed("nullsrc=s=16x16:r=25:d=0.2", lambda s: timestamps.numbered_frames(s, rate), before=before)

    assert times == (1 / rate, [before + n for n in range(5)])


@few
@given(st.sampled_from([8_000, 44_100, 48_000, 192_000]), st.fractions(0, 1))
@example(48_000, Fraction(1))
def test_samples_are_at_their_numbers_after_a_day(rate_hz: int, share: Fraction) -> None:
    before = int(DAY_S * rate_hz * share)
    source = f"anullsrc=r={rate_hz}:cl=mono:n=1000,atrim=end_sample=3000"

    times = computed(source, lambda s: timestamps.numbered_samples(s, rate_hz), before=before)

    assert times == (Fraction(1, rate_hz), [before, before + 1000, before + 2000])


@pytest.mark.heavy
def test_samples_are_at_their_numbers_all_day() -> None:
    source = "anullsrc=r=48000:cl=mono:n=65535:d=86400,aformat=u8"

    times = computed(source, lambda s: timestamps.numbered_samples(s, 48_000))

    assert times == (Fraction(1, 48_000), list(range(0, DAY_S * 48_000, 65_535)))


time_bases = st.sampled_from(
    [Fraction(1, ticks) for ticks in (600, 1000, 12_800, 90_000, 10**9)] + [Fraction(1001, 24_000)]
)


@few
@given(time_bases, st.integers(0, 2 * DAY_S), st.integers(0, DAY_S * 60), frame_rates)
@example(Fraction(1, 90_000), DAY_S, DAY_S * 24, Fraction(24_000, 1001))
def test_times_are_counted_from_a_start_after_two_days(
    time_base: Fraction, start_s: int, first: int, rate: Fraction
) -> None:
    """Times as in a master from which a chunk is taken."""
    base = timestamps.common_ticks_per_s(time_base, Fraction(start_s) + first / rate)
    tick = int(start_s / time_base) + 7
    source = f"nullsrc=s=16x16:r=25:d=0.12,settb={timestamps.fraction(time_base)},setpts={tick}+10*N"

    times = computed(source, lambda s: timestamps.count_from(s, Fraction(start_s) + first / rate, base))

    start = round((start_s + first / rate) * base)
    # Halves are rounded up, if a tick of the master lies in the middle.
    assert times == (
        Fraction(1, base),
        [floor((tick + 10 * n) * time_base * base + Fraction(1, 2)) - start for n in range(3)],
    )


@few
@given(st.integers(0, 10_000))
def test_sheets_are_spread_exactly(before: int) -> None:
    times = computed("nullsrc=s=16x16:r=25:d=0.12", timestamps.spread_sheets, before=before)
    assert times == (1, [timestamps.SHEET_S * (before + n) for n in range(3)])


@given(st.integers(-(10**16), 10**16))
def test_times_are_written_exactly(micros: int) -> None:
    assert Fraction(timestamps.seconds(micros)) == Fraction(micros, 1_000_000)


@few
@given(st.integers(-DAY_S * 1_000_000, 2**31 * 1_000_000))
@example(-1)
def test_ffmpeg_reads_a_time_to_the_microsecond(micros: int) -> None:
    """The latest is a wall-clock time in seconds since 1970, at which some masters begin."""
    _, times = computed("nullsrc=s=16x16:r=1000000:d=0.000002", lambda s: s, itsoffset=timestamps.seconds(micros))
    assert times == [micros, micros + 1]


# --- no other expressions -----------------------------------------------------------------------------------------

_WHOLE = r"-?\d+"
_RATE = r"\d+/\d+"
EXACT = {
    "setpts": rf"N|\d+\*N|PTS-\({_WHOLE}\)|max\(PTS\\?,0\)",
    "asetpts": "N",
    "settb": rf"1|{_RATE}",
    "asettb": r"1/\d+",
    "fps": rf"{_RATE}(:(start_time=0|round=near|eof_action=pass))*",
    "trim": rf"((start_pts|end_pts|start_frame|end_frame)={_WHOLE}:?)+",
    "atrim": r"(start|end)_sample=\d+",
    "tpad": r"stop=\d+:stop_mode=clone",
    "adelay": r"\d+S:all=1",
    "apad": r"whole_len=\d+",
    "framestep": r"\d+",
    # A threshold for filling gaps, not a point in time.
    "aresample": rf"\d+|((async=\d+|min_hard_comp=0\.\d+|first_pts={_WHOLE}):?)+",
}
"""Filters with times, and the form of their arguments: whole numbers and the few expressions."""
TIMELESS = frozenset(
    (
        *("aformat", "asplit", "bwdif", "concat", "crop", "decimate", "ebur128", "fieldmatch", "format", "pan"),
        *("setparams", "setsar", "sidedata", "split", "tile", "transpose", "zscale"),
    )
)
"""Filters without times or frame counts among their arguments."""


def filters_of(argv: tuple[str, ...]) -> list[tuple[str, str]]:
    graph = argv[argv.index("-filter_complex") + 1]
    bodies = [re.sub(r"\[[^]]*\]", "", part) for part in graph.split(";")]
    return [(name.partition("@")[0], args) for name, _, args in (body.partition("=") for body in bodies)]


def check_times(argv: tuple[str, ...]) -> None:
    for name, args in filters_of(argv):
        if re.fullmatch(r"\{level-[^}]+\}", name):
            continue  # a gain, decided later
        assert name in TIMELESS or re.fullmatch(EXACT[name], args), f"{name}={args} is not known to be exact"
    for seek in (after for word, after in pairwise(argv) if word == "-ss"):
        assert re.fullmatch(r"-?\d+\.\d{6}", seek)


@pytest.mark.parametrize(("cadence", "conceal"), list(product(Cadence, (False, True))))
def test_commands_for_the_picture_set_times_by_whole_numbers_alone(cadence: Cadence, conceal: bool) -> None:
    ticks = make_frame_index(400, frame_ticks=3003, start_ticks=126_000, keyframe_every=50)
    track = make_video_track(
        frames=ticks, time_base=Fraction(1, 90_000), frame_rate=Fraction(30_000, 1001), colour=BT709
    )
    rate = {Cadence.INTERLACED: Fraction(60_000, 1001), Cadence.TELECINE: Fraction(24_000, 1001)}
    conformed = Conformed(track, cadence, FieldOrder.TOP_FIRST, rate.get(cadence, track.frame_rate), conceal=conceal)
    grid = plan_grid(
        conformed.frame_rate, conformed.frame_count, segment_s=Fraction(2), chunk_s=Fraction(4), gop_multiple=4
    )
    renditions = [make_video_rendition(), make_video_rendition(id="half", rate_divisor=2, width_px=640, height_px=360)]
    commands = VideoCommands(make_master(), SourcePicture(conformed, BT709), grid, Effort.DRAFT)

    for chunk in grid.chunks():
        argv = commands.encode(chunk, renditions, SideOutputs(Thumbnails(160, 90, 2, 1, grid.gop_frames)))
        assert {"setpts", "settb", "fps"} <= {name for name, _ in filters_of(argv)}
        check_times(argv)


@pytest.mark.parametrize("conceal", [False, True])
@pytest.mark.parametrize("start_s", [Fraction(-1, 3), Fraction(0), Fraction(1, 3)])
def test_commands_for_sound_set_times_by_whole_numbers_alone(start_s: Fraction, conceal: bool) -> None:
    grid = plan_grid(Fraction(30_000, 1001), 400, segment_s=Fraction(2), chunk_s=Fraction(4))
    track: AudioTrack = make_audio_track(start_s=start_s, sample_rate_hz=44_100)
    place = make_master(), track, grid, Fraction(0), [make_audio_rendition()]

    for argv in (audio_command(*place, conceal=conceal), loudness_target(*place, -23.0, conceal=conceal).argv):
        assert "asetpts" in {name for name, _ in filters_of(argv)}
        check_times(argv)
