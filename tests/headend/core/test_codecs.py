import os
import subprocess
import sys
from pathlib import Path

import pytest

from headend.core.codecs import VIDEO, VideoCodec, media_codecs
from headend.core.media import Codec
from headend.core.storage.local import LocalStore
from tests.support.command_line import ROOT
from tests.support.masters import Sound, make_film


def test_a_codec_is_one_file(tmp_path: Path) -> None:
    """A title is made with a video and an audio codec that exist only as descriptors."""
    master = make_film(tmp_path / "film.mp4", frame_count=50, size=(160, 90), sound=[Sound()])
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "data" / "toy_codec.py", master, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'-c:v', 'mpeg4'" in done.stdout
    assert "'-c:a', 'alac'" in done.stdout
    assert "finding:" not in done.stdout
    texts = {
        info.key.rpartition("/")[2]: LocalStore(tmp_path / "store").get(info.key).decode()
        for info in LocalStore(tmp_path / "store").list("titles/toy/releases/")
        if info.key.endswith((".mpd", "multivariant.m3u8"))
    }
    assert 'codecs="mp4v.20.' in texts["manifest.mpd"]
    assert 'codecs="alac"' in texts["manifest.mpd"]
    for codec in ("mp4v", "alac"):
        assert codec not in texts["multivariant.m3u8"], "HLS can't name it"


def test_codecs_have_different_names() -> None:
    for field in ("codec", "encoder", "sample_entry", "configuration_box"):
        assert len({getattr(one, field) for one in media_codecs()}) == len(media_codecs())
    assert len({one.label for one in VIDEO}) == len(VIDEO)
    ranks = [one.hls_rank for one in VIDEO if one.hls_rank is not None]
    assert sorted(ranks) == list(range(1, 1 + len(ranks)))


@pytest.mark.parametrize("codec", VIDEO, ids=lambda one: one.codec)
def test_levels_rise_and_factors_lie_within_the_encoders_range(codec: VideoCodec) -> None:
    rates = [level.bit_rate_kbps for level in codec.levels]
    assert rates == sorted(rates)
    factors = (codec.finest_crf, *codec.trial_crfs, codec.coarsest_trial_crf)
    assert all(1 <= factor <= codec.crf_limit for factor in factors)
    assert list(codec.trial_crfs) == sorted(codec.trial_crfs)
    assert codec.codec in Codec
