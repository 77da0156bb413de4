"""The speed of a machine is measured once by a test picture, and corrects predicted costs until jobs are known."""

from pathlib import Path

import pytest

from encoder import speed
from encoder.costs import measured
from headend.core import codecs
from headend.core.media import Codec, Effort


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_speed_is_measured_once_and_then_read(tmp_path: Path) -> None:
    begun: list[str] = []

    first = speed.calibration(lambda: begun.append("first"))
    second = speed.calibration(lambda: begun.append("second"))

    assert begun == ["first"]
    assert first == second
    assert not first.from_jobs
    factors = {factor for efforts in first.video.values() for factor in efforts.values()}
    assert factors == {first.source}
    assert 0.1 < first.source < 50
    [kept] = (tmp_path / "headend").glob("speed-*.json")
    kept.write_bytes(b"{")
    assert not speed.calibration(lambda: begun.append("third")).from_jobs
    assert begun == ["first", "third"]


def test_a_machine_that_takes_twice_as_long_has_twice_the_costs() -> None:
    reference_s = measured().test_picture_s
    found = speed.compared({codec: 2 * took_s for codec, took_s in reference_s.items()})

    assert set(found.video) == {one.codec for one in codecs.VIDEO} == set(reference_s)
    costs = found.applied(measured())
    for effort in Effort:
        before = measured().video[Codec.AV1][effort].frame_s
        assert costs.video[Codec.AV1][effort].frame_s == pytest.approx(2 * before)
    assert costs.decode_other_s == pytest.approx(2 * measured().decode_other_s)


def test_without_the_encoders_costs_are_not_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_FFMPEG", "/bin/false")

    assert speed.calibration().video == {}
