"""The speed of a machine is measured once by a test picture, and corrects predicted costs until jobs are known."""

import math
import os
import time
from pathlib import Path

import pytest

from encoder import speed
from encoder.costs import measured
from headend.core import codecs
from headend.core.media import Codec, Effort
from headend.core.process import Finished


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # A shorter picture: these tests don't need the exact speed.
    monkeypatch.setattr(speed, "FRAMES", 8)
    monkeypatch.setattr(speed, "ROUNDS", 1)


def test_the_speed_is_measured_once_and_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BUSY", math.inf)  # other tests may run at the same time
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


def test_what_is_measured_on_a_busy_machine_is_kept_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "BUSY", 0.0)
    begun: list[str] = []

    first = speed.calibration(lambda: begun.append("first"))
    assert speed.calibration(lambda: begun.append("second")) == first
    [kept] = (tmp_path / "headend").glob("*speed-*")
    hour_ago = time.time() - 3601
    os.utime(kept, (hour_ago, hour_ago))
    monkeypatch.setattr(speed, "BUSY", math.inf)
    third = speed.calibration(lambda: begun.append("third"))
    assert speed.calibration(lambda: begun.append("fourth")) == third
    assert begun == ["first", "third"]


def encodes(avc: tuple[float, float], av1: tuple[float, float]) -> list[tuple[Codec, Finished]]:
    """Return a round of two encodes, from their CPU seconds and the time that they took."""
    return [(codec, Finished(*took_s, 0, "")) for codec, took_s in ((Codec.AVC, avc), (Codec.AV1, av1))]


def test_the_least_cpu_time_of_all_rounds_counts() -> None:
    found = speed.judged([encodes((0.2, 0.2), (0.9, 0.9)), encodes((0.3, 0.3), (0.5, 0.5))])

    assert found.cpu_s == {Codec.AVC: 0.2, Codec.AV1: 0.5}
    assert not found.busy


def test_a_machine_is_busy_if_encodes_wait_for_the_processor_in_all_rounds() -> None:
    waiting, calm = encodes((0.2, 0.3), (0.5, 0.8)), encodes((0.2, 0.22), (0.5, 0.55))

    assert speed.judged([waiting, waiting]).busy
    assert not speed.judged([waiting, calm]).busy


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
