"""Segments above their caps are encoded again, by each codec's encoder, until they fit."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from encoder import encoding
from encoder.encoding import Encoded
from headend.app import capping
from headend.app.capping import Capped
from headend.core.media import Codec, Effort, EncodedTrack, EncodeTask, VideoRendition
from headend.core.rates import LIMIT
from headend.core.timing import Chunk
from packager.segmenting.cut import Cut
from packager.segmenting.video import cut_video
from tests.support.encodes import Film, commands_of, probe_film, task_of
from tests.support.makers import make_video_rendition
from tests.support.marks import repeated
from tests.support.masters import run_ffmpeg

SIZE = (160, 90)
LEVELS = {Codec.AVC: "1.2", Codec.HEVC: "2.0", Codec.AV1: "2.0", Codec.VP9: "1.0"}


def rendition_of(codec: Codec, *, cap_bps: int = 100_000, id: str = "", crf: float = 20.0) -> VideoRendition:
    return make_video_rendition(
        id=id or codec.value, codec=codec, width_px=SIZE[0], height_px=SIZE[1], average_bps=cap_bps * 2 // 3,
        cap_bps=cap_bps, buffer_bits=cap_bps, crf=crf, level=LEVELS[codec],
    )  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Make one chunk with a segment of little motion, one of noise, and another of little motion."""
    path = tmp_path_factory.mktemp("capping") / "film.mkv"
    calm = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=24"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"{calm}:duration=3",
        "-vf", "noise=alls=60:allf=t:all_seed=1:enable='between(n,24,47)'", "-pix_fmt", "yuv420p",
        "-c:v", "ffv1", str(path),
    )  # fmt: skip
    return probe_film(path, segment_s=Fraction(1), chunk_s=Fraction(3))


def capped_chunk(
    film: Film, renditions: Sequence[VideoRendition], scratch: Path, effort: Effort = Effort.DRAFT
) -> tuple[dict[str, Cut], dict[str, Cut], Capped]:
    """Return a chunk's renditions before and after capping."""
    (chunk,) = film.chunks
    divisors = {r.id: r.rate_divisor for r in renditions}
    task = task_of(commands_of(film, effort).encode(chunk, renditions), [r.id for r in renditions], chunk)

    def encode(derived: EncodeTask, folder: Path) -> Encoded:
        return encoding.encode(
            derived, input_url=str(film.path), scratch=folder, cancelled=lambda: False, on_frames=lambda _: None
        )

    def cut(id: str, part: Chunk, data: memoryview) -> Cut:
        return cut_video(data, rendition=id, grid=film.grid, chunk=part, rate_divisor=divisors[id])

    def cuts() -> dict[str, Cut]:
        files = {r.id: encoding.output(scratch, r.id).read_bytes() for r in renditions}
        return {id: cut(id, chunk, memoryview(data)) for id, data in files.items()}

    def measure(id: str, part: Chunk, data: memoryview) -> EncodedTrack:
        return cut(id, part, data).track

    scratch.mkdir(exist_ok=True)
    encode(task, scratch)
    first = cuts()
    capped = capping.cap(task, scratch, film.grid, divisors, encode=encode, measure=measure)
    return first, cuts(), capped


def rates_of(cut: Cut) -> list[float]:
    return [8 * s.size_bytes * cut.track.timescale / s.duration_ticks for s in cut.track.segments]


@pytest.mark.parametrize("effort", [Effort.DRAFT, repeated(Effort.STANDARD)])
def test_every_codec_keeps_its_cap(effort: Effort, film: Film, tmp_path: Path) -> None:
    renditions = [rendition_of(codec) for codec in LEVELS]

    first, last, capped = capped_chunk(film, renditions, tmp_path, effort)

    assert max(rates_of(first["vp9"])) > 1.5 * renditions[0].cap_bps
    for rendition in renditions:
        id, cut = rendition.id, last[rendition.id]
        assert max(rates_of(cut)) <= LIMIT * rendition.cap_bps, id
        assert capped.window_bps[id] == pytest.approx(max(rates_of(cut)), abs=1)
        # The second encode uses the bits that the cap allows.
        assert max(rates_of(cut)) > 0.6 * rendition.cap_bps, id
        assert cut.init == first[id].init
        assert [s.samples for s in cut.track.segments] == [24, 24, 24]
        for number, (old, new) in enumerate(zip(first[id].track.segments, cut.track.segments, strict=True), start=1):
            assert (old != new) == (number in capped.encoded_again.get(id, ())), (id, number)


def test_the_rate_of_trick_pictures_counts_the_last_one_for_as_long_as_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "noise.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=24:duration=2.25",
        "-vf", "noise=alls=60:allf=t:all_seed=1", "-pix_fmt", "yuv420p", "-c:v", "ffv1", str(path),
    )  # fmt: skip
    noise = probe_film(path, segment_s=Fraction(3), chunk_s=Fraction(3))
    gop = noise.grid.gop_frames
    assert noise.grid.frame_count % gop
    trick = make_video_rendition(
        id="vp9", codec=Codec.VP9, width_px=SIZE[0], height_px=SIZE[1], frame_rate=noise.grid.frame_rate / gop,
        rate_divisor=gop, average_bps=20_000, cap_bps=40_000, buffer_bits=80_000, crf=20.0, level="1.0",
    )  # fmt: skip

    first, last, capped = capped_chunk(noise, [trick], tmp_path / "scratch")

    assert max(rates_of(first["vp9"])) > LIMIT * trick.cap_bps
    assert max(rates_of(last["vp9"])) <= LIMIT * trick.cap_bps
    assert capped.encoded_again == {"vp9": (1,)}
