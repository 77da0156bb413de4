"""Popularity of titles by day and provider."""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.model import Popularity
from cdn_sim.streams import draw, normal, stream_of, uniform

MAX_AGE_DAYS = 400
"""The release days of initial titles are spread evenly over this many days before the run."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Popularity of all titles over the run.

    Attributes:
        popularity: The scenario's parameters.
        seed: Seed of the run.
        released: Release day of each title; negative for initial titles.
        base: Weight of each title from its rank alone, without age and noise.
    """

    popularity: Popularity
    seed: int
    released: Array
    base: Array

    def weights(self, day: int, isp: int, *, noisy: bool = True) -> Array:
        """Weights of all titles on a day at a provider; unreleased titles have 0.

        Args:
            day: Day, from 0.
            isp: Number of the provider.
            noisy: Whether to add noise; without it, the weights are what a forecast can know.
        """
        age = day - self.released
        decay = np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / self.popularity.half_life_days), 0.0)
        weights = self.base * (self.popularity.floor + (1 - self.popularity.floor) * decay)
        titles = np.arange(len(self.base))
        if noisy:
            daily = normal(stream_of(self.seed, f"noise of day {day}"), titles)
            regional = normal(stream_of(self.seed, f"taste of provider {isp}"), titles)
            weights = weights * np.exp(self.popularity.noise * daily + self.popularity.regional * regional)
        return np.where(age >= 0, weights, 0.0)


def rank_titles(popularity: Popularity, titles: int, days: int, seed: int, premieres: tuple[int, ...] = ()) -> Ranking:
    """Rank all titles of a run.

    Args:
        popularity: The scenario's parameters.
        titles: Number of initial titles.
        days: Number of simulated days.
        seed: Seed of the run.
        premieres: Release days of titles with a premiere; these titles are numbered last and have rank 1.
    """
    per_day = popularity.releases_per_day
    new = np.array([day for day in range(days) for _ in range(int((day + 1) * per_day) - int(day * per_day))])
    old = -1 - (uniform(stream_of(seed, "ages"), np.arange(titles)) * MAX_AGE_DAYS).astype(np.int64)
    released = np.concatenate([old, new.astype(np.int64), np.array(premieres, dtype=np.int64)])
    order = np.argsort(draw(stream_of(seed, "ranks"), np.arange(titles)), kind="stable")
    ranks = np.empty(titles)
    ranks[order] = np.arange(titles)
    new_ranks = uniform(stream_of(seed, "ranks of releases"), np.arange(len(new))) * titles
    ranks = np.concatenate([ranks, new_ranks, np.zeros(len(premieres))])
    return Ranking(popularity, seed, released, (ranks + 1 + popularity.shift) ** -popularity.exponent)


def republications(popularity: Popularity, ranking: Ranking, days: int) -> tuple[tuple[int, int], ...]:
    """Draw the titles that are re-encoded and published again; popular titles are drawn more often.

    Returns:
        Day and title of each republication, in order of time.
    """
    found = []
    for day in range(days):
        count = int((day + 1) * popularity.republished_per_day) - int(day * popularity.republished_per_day)
        sums = np.cumsum(ranking.weights(day, 0, noisy=False))
        for number in range(count):
            at = uniform(stream_of(ranking.seed, "republications"), [day * 1000 + number])[0] * sums[-1]
            found.append((day, int(np.searchsorted(sums, at, side="right"))))
    return tuple(found)
