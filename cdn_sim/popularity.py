"""How popular each title is, day by day and provider by provider."""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.model import Popularity
from cdn_sim.streams import draw, normal, stream_of, uniform

LONG_AGO_DAYS = 400
"""Titles at the beginning came out evenly within so many days before it."""


@dataclass(frozen=True, slots=True)
class Charts:
    """Weights of titles.

    Attributes:
        popularity: What the scenario says.
        seed: Of the run.
        released: Day on which each title comes out; negative for those at the beginning.
        base: Weight of each title by its rank alone.
    """

    popularity: Popularity
    seed: int
    released: Array
    base: Array

    def weights(self, day: int, isp: int, *, noisy: bool = True) -> Array:
        """Weights of all titles on a day at a provider; titles not yet out have 0.

        Args:
            day: From 0.
            isp: Number of the provider.
            noisy: With the day's noise; without, it is what can be known beforehand.
        """
        age = day - self.released
        left = np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / self.popularity.half_life_days), 0.0)
        weights = self.base * (self.popularity.floor + (1 - self.popularity.floor) * left)
        titles = np.arange(len(self.base))
        if noisy:
            day_noise = normal(stream_of(self.seed, f"noise of day {day}"), titles)
            home = normal(stream_of(self.seed, f"taste of provider {isp}"), titles)
            weights = weights * np.exp(self.popularity.noise * day_noise + self.popularity.regional * home)
        return np.where(age >= 0, weights, 0.0)


def charts(popularity: Popularity, titles: int, days: int, seed: int, premieres: tuple[int, ...] = ()) -> Charts:
    """Rank all titles that there will ever be.

    Args:
        popularity: What the scenario says.
        titles: How many there are at the beginning.
        days: How many are simulated.
        seed: Of the run.
        premieres: Days of extra titles that come out with a premiere; they are the last ones, and of rank 1.
    """
    per_day = popularity.releases_per_day
    new = np.array([day for day in range(days) for _ in range(int((day + 1) * per_day) - int(day * per_day))])
    old = -1 - (uniform(stream_of(seed, "ages"), np.arange(titles)) * LONG_AGO_DAYS).astype(np.int64)
    released = np.concatenate([old, new.astype(np.int64), np.array(premieres, dtype=np.int64)])
    order = np.argsort(draw(stream_of(seed, "ranks"), np.arange(titles)), kind="stable")
    ranks = np.empty(titles)
    ranks[order] = np.arange(titles)
    fresh = uniform(stream_of(seed, "ranks of releases"), np.arange(len(new))) * titles
    ranks = np.concatenate([ranks, fresh, np.zeros(len(premieres))])
    return Charts(popularity, seed, released, (ranks + 1 + popularity.shift) ** -popularity.exponent)


def republications(popularity: Popularity, chart: Charts, days: int) -> tuple[tuple[int, int], ...]:
    """Which titles are published anew by itself: day and title, in order; popular ones more often."""
    found = []
    for day in range(days):
        count = int((day + 1) * popularity.republished_per_day) - int(day * popularity.republished_per_day)
        sums = np.cumsum(chart.weights(day, 0, noisy=False))
        for number in range(count):
            at = uniform(stream_of(chart.seed, "republications"), [day * 1000 + number])[0] * sums[-1]
            found.append((day, int(np.searchsorted(sums, at, side="right"))))
    return tuple(found)
