import numpy as np

from cdn_sim.streams import draw, normal, splitmix64, stream_of, uniform


def test_splitmix64_gives_the_published_values() -> None:
    """The first values of the reference generator seeded with 1234567, which adds its constant before each."""
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + number * step) % 2**64 for number in range(3)], dtype=np.uint64)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_value_depends_only_on_its_position() -> None:
    assert draw(7, np.arange(100))[60:].tolist() == draw(7, np.arange(60, 100)).tolist()


def test_each_purpose_and_seed_has_its_own_stream() -> None:
    streams = {stream_of(seed, purpose) for seed in range(50) for purpose in ("arrivals", "titles", "seeks")}
    assert len(streams) == 150


def test_distributions_have_their_moments() -> None:
    numbers = np.arange(200_000)
    even, bell = uniform(3, numbers), normal(4, numbers)
    assert abs(even.mean() - 0.5) < 0.003 and even.min() >= 0 and even.max() < 1
    assert abs(bell.mean()) < 0.01 and abs(bell.std() - 1) < 0.01
