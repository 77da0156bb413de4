from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.timelines.spans import PacketTimes, frame_bytes, packet_samples, timeline
from headend.core.media import Span, Timeline

MS = Fraction(1, 1000)
TICK_90K = Fraction(1, 90_000)


def packets_of(starts_s: list[Fraction], time_base: Fraction, length_s: Fraction) -> PacketTimes:
    packets = PacketTimes()
    for start_s in starts_s:
        packets.add(round(start_s / time_base), round(length_s / time_base), 100)
    return packets


def aac(starts: list[int], time_base: Fraction = MS, rate_hz: int = 48_000) -> Timeline:
    """Return the timeline of AAC whose packets begin at these samples."""
    times = [Fraction(start, rate_hz) for start in starts]
    packets = packets_of(times, time_base, Fraction(1024, rate_hz))
    found = timeline(packets, time_base, rate_hz=rate_hz, packet_samples=1024)
    assert found is not None
    return found


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 32_000])
@pytest.mark.parametrize("time_base", [MS, TICK_90K, Fraction(1, 48_000)])
def test_times_that_a_container_has_rounded_are_even(time_base: Fraction, rate_hz: int) -> None:
    found = aac([1024 * number for number in range(2000)], time_base, rate_hz)

    assert found.even
    assert len(found.spans) == 1


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 400),
    st.sampled_from([MS, TICK_90K]),
    st.sampled_from([44_100, 48_000]),
)
def test_missing_packets_are_a_gap_of_their_length(
    before: int, after: int, missing: int, time_base: Fraction, rate_hz: int
) -> None:
    starts = [*range(before), *range(before + missing, before + missing + after + 3)]
    (gap,) = aac([1024 * number for number in starts], time_base, rate_hz).gaps()

    frame_s = Fraction(1024, rate_hz)
    assert abs(gap.start_s - before * frame_s) <= time_base
    assert abs(gap.end_s - (before + missing) * frame_s) <= time_base


def test_every_gap_is_found() -> None:
    numbers = [*range(20), *range(25, 40), *range(41, 60)]

    assert len(list(aac([1024 * number for number in numbers]).gaps())) == 2


def test_a_packet_that_lasts_too_long_is_followed_by_a_gap() -> None:
    packets = PacketTimes()
    for start, length in ((0, 1024), (1024, 1024), (2048, 11_024), (13_072, 1024), (14_096, 1024)):
        packets.add(start, length, 100)

    found = timeline(packets, Fraction(1, 48_000), rate_hz=48_000, packet_samples=1024)

    assert found is not None
    assert list(found.gaps()) == [Span(Fraction(3072, 48_000), Fraction(13_072, 48_000))]


def test_sound_that_goes_back_is_an_overlap() -> None:
    starts = [1024 * number - (9_600 if number >= 50 else 0) for number in range(100)]
    found = aac(starts, Fraction(1, 48_000))

    assert list(found.overlaps()) == [Span(Fraction(41_600, 48_000), Fraction(51_200, 48_000))]
    assert not list(found.gaps())


@pytest.mark.parametrize("step", [1034, 1014, 1026])
def test_timestamps_that_run_faster_or_slower_than_samples_are_drift(step: int) -> None:
    found = aac([step * number for number in range(1000)])

    assert len(found.spans) == 1
    assert abs(found.drift_s - Fraction((step - 1024) * 999, 48_000)) < 2 * MS


def test_drift_that_reverses_is_drift() -> None:
    out = [1024 * number + 40 * min(number, 100 - number) for number in range(100)]

    assert float(aac(out, TICK_90K).drift_s) == pytest.approx(40 * 50 / 48_000, abs=0.003)


@pytest.mark.parametrize(
    ("codec", "samples"), [("ac3", 1536), ("eac3", 1536), ("eac3", 256), ("dts", 512), ("opus", 960)]
)
@pytest.mark.parametrize("ratio", [Fraction(101, 100), Fraction(99, 100), Fraction(1)])
def test_packets_are_counted_if_ffmpeg_states_no_durations(codec: str, samples: int, ratio: Fraction) -> None:
    # Containers with times state durations up to the next packet, or as in the codec.
    for length in (samples * ratio, Fraction(samples)):
        starts = [samples * number * ratio / 48_000 for number in range(1000)]
        packets = packets_of(starts, TICK_90K, length / 48_000)
        found = timeline(packets, TICK_90K, rate_hz=48_000, codec=codec)

        assert found is not None and len(found.spans) == 1
        assert float(found.drift_s) == pytest.approx(float(999 * samples * (ratio - 1) / 48_000), abs=0.012)


def test_headers_state_the_number_of_samples_in_a_packet() -> None:
    assert packet_samples("flac", 0, bytes.fromhex("10001000")) == 4096
    assert packet_samples("flac", 0, bytes.fromhex("00101000")) == 0  # they differ
    assert packet_samples("alac", 0, bytes.fromhex("00000024616c61630000000000001000")) == 4096
    assert packet_samples("aac", 1024, b"") == 1024


def test_a_single_wrong_timestamp_breaks_nothing() -> None:
    starts = [1536 * number + (1536 if number == 30 else 0) for number in range(100)]
    packets = packets_of([Fraction(start, 48_000) for start in starts], TICK_90K, Fraction(1536, 48_000))

    found = timeline(packets, TICK_90K, rate_hz=48_000)

    assert found is not None
    assert found.even


def test_codecs_whose_packets_differ_are_followed_by_their_durations() -> None:
    packets, at = PacketTimes(), 0
    for number in range(60):
        length = 3 if number % 3 else 12
        packets.add(at + (200 if number >= 30 else 0), length, 100)
        at += length

    found = timeline(packets, MS, rate_hz=48_000)

    assert found is not None
    assert [gap.end_s - gap.start_s for gap in found.gaps()] == [200 * MS]


def test_pcm_is_counted_by_its_size() -> None:
    packets = PacketTimes()
    for start, samples in ((0, 4096), (4096, 8192), (24_576, 4096), (28_672, 100)):
        packets.add(start, 0, samples * 6)

    found = timeline(packets, Fraction(1, 48_000), rate_hz=48_000, sample_bytes=frame_bytes("pcm_s24le", 2))

    assert found is not None
    assert list(found.gaps()) == [Span(Fraction(12_288, 48_000), Fraction(24_576, 48_000))]


def test_packets_without_times_have_no_timeline() -> None:
    assert timeline(PacketTimes(), MS, rate_hz=48_000) is None
