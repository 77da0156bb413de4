"""Rules for every master, whatever its size, rate, length and chunks, tried on many random masters."""

import re
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from encoder import encoding, planning, probing, tool
from encoder.conforming import Cadence, Conformed, FieldCounts, conform
from encoder.probing import STANDARD_RATES
from headend.core.media import Codec, Effort, EncodePlan, FieldOrder, Probe
from headend.core.settings import EncodeSettings
from ladders.fitting import Fitted, fit
from ladders.ladder import Ladder
from ladders.loading import load
from tests.support.hard_masters import HardMaster, read_picture
from tests.support.makers import make_frame_index, make_probe, make_video_track
from tests.support.masters import master_of
from tests.support.playback import frames, planes_of

SMOKE = load("smoke")
AVC = replace(SMOKE, video=tuple(rung for rung in SMOKE.video if rung.codec is Codec.AVC))
LADDERS = [SMOKE, load("web"), load("studio")]
FILM_LIKE = FieldCounts(top_first=90, bottom_first=0, progressive=6, repeated=40)

sizes = st.tuples(st.integers(64, 4096), st.integers(64, 2304)).filter(
    lambda size: size[0] < 4 * size[1] < 16 * size[0]
)
rates = st.one_of(st.sampled_from(STANDARD_RATES), st.fractions(12, 240, max_denominator=1001))
lengths_s = st.fractions(Fraction(1, 2), 8, max_denominator=12)
cadences = st.sampled_from([Cadence.PROGRESSIVE, Cadence.INTERLACED, Cadence.TELECINE])


def planned(probe: Probe, conformed: Conformed, fitted: Fitted, segment_s: Fraction, chunk_s: Fraction) -> EncodePlan:
    return planning.Draft(
        "film",
        probe,
        conformed,
        planning.Renditions("smoke", fitted.video),
        settings=EncodeSettings(segment_s, chunk_s, Effort.DRAFT, thumbnails=False),
        tool=tool.version(),
        tool_digest=tool.digest(),
    ).with_tasks(workers=2)


@settings(deadline=None, max_examples=200)
@given(
    ladder=st.sampled_from(LADDERS),
    size=sizes,
    shape=st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(64, 45), Fraction(8, 9)]),
    rotation_deg=st.sampled_from([0, 90, 180, 270]),
    rate=st.sampled_from([rate for rate in STANDARD_RATES if rate <= 60]),
)
def test_renditions_have_even_sizes_of_the_masters_shape_and_never_exceed_it(
    ladder: Ladder, size: tuple[int, int], shape: Fraction, rotation_deg: int, rate: Fraction
) -> None:
    width, height = size
    probe = make_probe(
        width_px=width, height_px=height, sample_aspect_ratio=shape, rotation_deg=rotation_deg, frame_rate=rate
    )
    seen_width, seen_height = (width * shape, Fraction(height))
    if rotation_deg in (90, 270):
        seen_width, seen_height = seen_height, seen_width
    for rendition in fit(ladder, probe).video:
        w, h = rendition.width_px, rendition.height_px
        assert w % 2 == h % 2 == 0
        # Rounding to even numbers may change one side; at the master's own size, both.
        slant = seen_width / seen_height
        assert abs(w - h * slant) <= 1 + slant, rendition.id
        # The master rounded to even, and the tolerance of the ladder.
        assert w < seen_width + 4 and h < seen_height + 4, rendition.id


@settings(deadline=None, max_examples=150)
@given(
    cadence=cadences,
    rate=rates,
    count=st.integers(1, 2000),
    start=st.integers(-1000, 10**6),
    ticks=st.integers(1, 5000),
    keyframe_every=st.integers(1, 400),
    segment_s=lengths_s,
    chunks_wanted=st.integers(1, 6),
)
def test_every_frame_of_a_master_is_in_one_chunk_and_in_its_place(
    cadence: Cadence,
    rate: Fraction,
    count: int,
    start: int,
    ticks: int,
    keyframe_every: int,
    segment_s: Fraction,
    chunks_wanted: int,
) -> None:
    index = make_frame_index(count, frame_ticks=ticks, start_ticks=start, keyframe_every=keyframe_every)
    progressive = cadence is Cadence.PROGRESSIVE
    order = FieldOrder.PROGRESSIVE if progressive else FieldOrder.TOP_FIRST
    track = make_video_track(
        width_px=320, height_px=180, frame_rate=rate, time_base=1 / (rate * ticks), frames=index, field_order=order
    )
    probe = make_probe(video=track, audio=())
    conformed = conform(track, FILM_LIKE if cadence is Cadence.TELECINE else None)
    assert conformed.cadence is cadence
    chunk_s = max(segment_s, count / rate / chunks_wanted)
    plan = planned(
        probe, conformed, fit(AVC, probe, frame_rate=min(conformed.frame_rate, Fraction(60))), segment_s, chunk_s
    )

    shown: dict[str, list[int]] = {rendition.id: [] for rendition in plan.video}
    for task in sorted(plan.tasks, key=lambda task: task.chunk.number):
        for rendition in task.renditions:
            shown[rendition] += frames_of(task.argv, conformed)
    assert all(each == list(range(conformed.frame_count)) for each in shown.values())


def frames_of(argv: tuple[str, ...], conformed: Conformed) -> list[int]:
    """Return the grid's frames that a command makes, according to its filters."""
    graph = argv[argv.index("-filter_complex") + 1]
    trims = [dict(re.findall(r"(\w+)=(-?\d+)", text)) for text in re.findall(r"trim=([^\[;,]*)", graph)]
    by_time = next((trim for trim in trims if "start_pts" in trim or "end_pts" in trim), {})
    by_count = next((trim for trim in trims if "start_frame" in trim or "end_frame" in trim), {})
    pts = conformed.track.frames.pts_ticks
    first_pts, end_pts = int(by_time.get("start_pts", pts[0])), int(by_time.get("end_pts", pts[-1] + 1))
    kept = [number for number, time in enumerate(pts) if first_pts <= time < end_pts]
    if "-ss" in argv:  # the seek target is no later than the first frame that is kept
        sought_s = Fraction(argv[argv.index("-ss") + 1])
        assert sought_s <= pts[kept[0]] * conformed.track.time_base + Fraction(1, 10**6)
    if conformed.cadence is Cadence.INTERLACED:
        kept = [field for number in kept for field in (2 * number, 2 * number + 1)]
    elif conformed.cadence is Cadence.TELECINE:
        assert kept[0] % 5 == 0
        cycles, whole = conformed.track.frame_count // 5, conformed.track.frame_count // 5 * 5
        film = [cycle * 4 + min(index, 3) for cycle in range(cycles) for index in range(5)]
        kept = sorted({film[number] if number < whole else cycles * 4 + number - whole for number in kept})
    return kept[int(by_count.get("start_frame", 0)) : int(by_count.get("end_frame", len(kept)))]


@settings(
    deadline=None,
    max_examples=4,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    size=st.tuples(st.integers(160, 400), st.integers(120, 300)),
    rate=st.sampled_from(STANDARD_RATES[3:]),
    count=st.integers(2, 90),
    segment_s=st.fractions(Fraction(1, 4), 1, max_denominator=12),
    segments=st.integers(1, 2),
)
def test_every_picture_of_a_real_master_is_shown_once(
    size: tuple[int, int], rate: Fraction, count: int, segment_s: Fraction, segments: int
) -> None:
    kind = HardMaster(
        "any", "any", suffix="mov", size=size, picture_rate=rate, pictures=count, raw_format="rgb24", codec="png",
        codec_args=(), sound=(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = kind.make(folder)
        probe = probing.probe(master_of(path), str(path))
        conformed = conform(planning.checked_picture(probe))
        plan = planned(probe, conformed, fit(AVC, probe), segment_s, segment_s * segments)
        numbers: dict[str, list[int | None]] = {rendition.id: [] for rendition in plan.video}
        for task in sorted(plan.tasks, key=lambda task: task.chunk.number):
            encoding.encode(
                task, input_url=str(path), scratch=folder, cancelled=lambda: False, on_frames=lambda _: None
            )
            for rendition in task.renditions:
                data = encoding.output(folder, rendition).read_bytes()
                numbers[rendition] += [read_picture(planes_of(frame), 8).number for frame in frames(data)]
        for rendition in plan.video:
            assert numbers[rendition.id] == list(range(0, count, rendition.rate_divisor)), rendition.id
