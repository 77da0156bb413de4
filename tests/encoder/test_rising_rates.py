"""A rung with a higher stated rate really takes more bits, with every encoder at every effort."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from headend.core.media import Codec, Effort
from ladders.fitting import fit
from ladders.loading import load
from tests.support.encodes import Film, encode_chunk, probe_film
from tests.support.marks import first, repeated
from tests.support.masters import run_ffmpeg

CLIPS = {
    "fractal": "mandelbrot=size=640x360:rate=24",
    "grain": "testsrc2=size=640x360:rate=24,noise=alls=8:allf=t:all_seed=1",
}
FRAMES = 36
CODECS = (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
QUICK = {(Codec.AV1, Effort.DRAFT)}
"""AV1 once had a rung that took less than the one below it."""


@pytest.fixture(scope="module", params=first(1, CLIPS))
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp("rising") / "film.mkv"
    colour = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709")
    source = ("-f", "lavfi", "-i", CLIPS[request.param], "-frames:v", str(FRAMES))
    run_ffmpeg(*source, "-pix_fmt", "yuv420p", *colour, "-c:v", "ffv1", str(path))
    return probe_film(path, segment_s=Fraction(2), chunk_s=Fraction(2))


@pytest.mark.parametrize(
    ("codec", "effort"),
    [(codec, effort) if (codec, effort) in QUICK else repeated(codec, effort) for codec in CODECS for effort in Effort],
)
def test_measured_averages_rise_from_rung_to_rung(codec: Codec, effort: Effort, film: Film, tmp_path: Path) -> None:
    studio = load("studio")
    ladder = replace(studio, video=tuple(rung for rung in studio.video if rung.codec is codec or rung.default))
    rungs = [r for r in fit(ladder, film.probe).video if r.codec is codec]

    files = encode_chunk(film, film.chunks[0], rungs, tmp_path, effort=effort)

    sizes = [len(files[rung.id]) for rung in reversed(rungs)]
    assert len(sizes) >= 6
    assert all(dearer > cheaper for cheaper, dearer in pairwise(sizes)), sizes
