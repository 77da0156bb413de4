"""Generates the inputs that all alternatives with the same seed share: titles, their popularity and their objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import catalogue, popularity
from cdn_sim.catalogue import Objects, StoredTitle
from cdn_sim.model import Scenario
from cdn_sim.popularity import Ranking
from cdn_sim.scenario import time_ms
from cdn_sim.viewing import DAY_MS


@dataclass(frozen=True, slots=True)
class SharedInputs:
    """Inputs that all alternatives with the same seed share.

    Attributes:
        ranking: Popularity of all titles.
        objects: All objects.
        republished: Day and title of each republication that is not an event.
        premieres: Start in ms, length in ms, title and sessions of each premiere.
    """

    ranking: Ranking
    objects: Objects
    republished: tuple[tuple[int, int], ...]
    premieres: tuple[tuple[float, float, int, float], ...]


def shared_inputs(scenario: Scenario, seed: int, stored_titles: Sequence[StoredTitle] = ()) -> SharedInputs:
    """Generate the titles, their popularity and their objects.

    Args:
        scenario: The scenario.
        seed: Seed of the run.
        stored_titles: Titles of the store, if the scenario names one.

    Raises:
        ConfigError: There are too many objects, or no stored title has a device's codec.
    """
    days = scenario.days.all
    events = [event for event in scenario.events if event.premiere is not None]
    days_of = tuple(time_ms(event.at) // DAY_MS for event in events)
    ranking = popularity.rank_titles(scenario.popularity, scenario.catalogue.titles, days, seed, days_of)
    titles = len(ranking.base)
    first = titles - len(events)
    premieres = tuple(
        (float(time_ms(event.at)), event.premiere.within_minutes * 60_000, first + number, event.premiere.sessions)
        for number, event in enumerate(events)
        if event.premiere is not None
    )
    republished = popularity.republications(scenario.popularity, ranking, days)
    forced = [
        (time_ms(event.at) // DAY_MS, title)
        for event in scenario.events
        if event.republish is not None
        for title in most_popular(ranking, time_ms(event.at) // DAY_MS, event.republish.top)
    ]
    objects = catalogue.build(
        scenario.catalogue,
        scenario.viewers.devices,
        titles,
        seed,
        republished=[title for _, title in (*republished, *forced)],
        stored_titles=stored_titles,
    )
    return SharedInputs(ranking, objects, republished, premieres)


def most_popular(ranking: Ranking, day: int, count: int) -> list[int]:
    """The titles that an event republishes: the most popular ones of a day, without noise."""
    weights = ranking.weights(day, 0, noisy=False)
    return [int(title) for title in np.argsort(-weights, kind="stable")[:count]]
