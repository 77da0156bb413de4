from typing import Any

import numpy as np
import pytest

from cdn_sim import batch, inputs, simulation
from cdn_sim.accounting import Tally
from cdn_sim.compiling import COMPILES
from cdn_sim.engine.caches import drop_renditions
from cdn_sim.engine.loop import advance
from cdn_sim.model import Scenario
from cdn_sim.outcomes import (
    CHANGE_KBPS,
    CONTENT_MISS,
    DECISIONS,
    DELAYED,
    ENDED,
    FAILED,
    GAVE_UP,
    HEALTH_MISS,
    HIT,
    KBPS,
    LATE_FILL,
    PASSED,
    SEGMENTS,
    SESSIONS,
    STALL_MS,
    STALLS,
)
from cdn_sim.players.session import Network, _play, watch
from cdn_sim.players.state import RULES
from headend.core.errors import HeadendError
from tests.cdn_sim.makers import scenario

pytestmark = pytest.mark.usefixtures("engine")


def site(given: Scenario, *, recorded: int = 0, seed: int = 1) -> simulation.Site:
    simulated = simulation.Site(given, 0, seed, inputs.shared_inputs(given, seed), recorded=recorded)
    for day in range(given.days.all):
        simulated.pass_day(day)
    return simulated


def edges(tally: Tally, decision: int) -> int:
    return int(tally.requests[: tally.edges, decision].sum())


@pytest.mark.parametrize("rule", ["throughput", "bola", "bola-e", "dynamic"])
def test_a_single_viewer_gets_the_result_of_the_players_rule(rule: str) -> None:
    given = scenario(
        catalogue={"titles": 1, "minutes": [8, 8], "ladder": "web", "sound_kbps": 0},
        viewers__sessions_per_day=1,
        viewers__players=[{"share": 1.0, "rule": rule, "buffer_s": 30}],
        viewers__access=[{"share": 1.0, "mbps": 2.6, "spread": 0, "rtt_ms": 40}],
        edge__disk="1K",
    )
    simulated = site(given)
    objects = simulated.inputs.objects
    sizes = objects.sizes.reshape(objects.renditions, -1).T.astype(np.float64) * 8
    alone = watch(
        RULES[rule],
        Network(np.array([[1e12, 2600.0, 40.0]])),
        sizes,
        objects.rates[0],
        6000.0,
        30_000.0,
        may_abandon=False,
    )
    experience = simulated.counts.experience.sum(axis=0)
    assert experience[SEGMENTS] == len(sizes)
    assert experience[KBPS] == objects.rates[0][alone.qualities].sum()
    assert experience[CHANGE_KBPS] == alone.change_kbps
    assert experience[STALL_MS] == pytest.approx(alone.stall_ms, abs=0.1)
    assert experience[STALLS] == alone.stalls


@pytest.mark.parametrize("policy", ["slru", "lru", "fifo", "sieve", "s3fifo", "gdsf", "lfuda"])
def test_an_edge_decides_as_the_batch_kernel_does(policy: str) -> None:
    given = scenario(edge__disk="700M", edge__policy=policy, viewers__sessions_per_day=400)
    simulated = site(given, recorded=100_000)
    rows = simulated.counts.recorded[: simulated.cursor[4]]
    assert len(rows) == simulated.counts.experience[:, SEGMENTS].sum() > 390 * 50
    hits = batch.play(policy, rows[:, 0], simulated.inputs.objects.sizes, 700_000_000)
    assert 0.2 < hits.mean() < 0.95
    assert (hits == rows[:, 1]).all()


def test_delayed_hits_follow_the_rate_of_requests_and_the_length_of_fetches() -> None:
    """During a fetch of length L, a Poisson stream of rate λ brings λL requests."""
    length_s, titles, sessions = 2.0, 400, 800_000
    given = scenario(
        catalogue={"titles": titles, "minutes": [0.1, 0.1], "ladder": "one", "sound_kbps": 0},
        popularity={"noise": 0, "regional": 0, "exponent": 0, "floor": 1},
        viewers__sessions_per_day=sessions,
        viewers__hours=[1.0] + [0.0] * 23,
        viewers__access=[{"share": 1.0, "mbps": 100_000, "spread": 0, "rtt_ms": 0}],
        edge__disk="10G",
        isps=[{"name": "north", "transit": {"gbps": 1e5, "rtt_ms": 1000 * length_s}, "shield": {"disk": "1K"}}],
        origin__link={"gbps": 1e5, "rtt_ms": 0},
    )
    tally = site(given).tally(0)
    rate = sessions / titles / 3600
    fetches, delayed = edges(tally, CONTENT_MISS), edges(tally, DELAYED)
    assert fetches == titles
    expected = rate * (length_s + 0.018)  # 2.25 MB at the 1 Gb/s of one fetch
    error = 3 * np.sqrt(expected / titles)
    assert delayed / fetches == pytest.approx(expected, abs=error)


@pytest.mark.parametrize(("mbps", "load"), [(1.6, 0.5), (3.2, 1.0), (64.0, 20.0)])
def test_flows_share_a_link_evenly_and_never_exceed_it(mbps: float, load: float) -> None:
    """Forty viewers whose buffers never fill, on a link of 128 Mb/s."""
    viewers = 40
    given = scenario(
        catalogue={"titles": 1, "minutes": [600, 600], "ladder": "one", "sound_kbps": 0},
        viewers__sessions_per_day=viewers,
        viewers__hours=[1.0] + [0.0] * 23,
        viewers__players=[{"share": 1.0, "rule": "fixed", "buffer_s": 600}],
        viewers__access=[{"share": 1.0, "mbps": mbps, "spread": 0, "rtt_ms": 0}],
        edge={"disk": "1T", "gbps": 0.128},
    )
    simulated = simulation.Site(given, 0, 1, inputs.shared_inputs(given, 1))
    arrivals = simulated._sessions(0)
    arrivals.start_ms[:] = np.linspace(0, 900, viewers)
    simulated._admit(arrivals)
    simulated._advance(20_000)
    carried = []
    for second in range(21, 140):
        simulated._advance(second * 1000)
        carried.append(simulated.links.carried[0, (second - 1) % 256] * 8 / 1e6)
    assert max(carried) <= 128 * (1 + 1e-9)
    assert np.mean(carried) == pytest.approx(min(load, 1.0) * 128, rel=0.01)
    if load > 1:
        assert simulated.links.share[0] * 8 / 1000 == pytest.approx(128 / viewers, rel=0.01)


EVENTS = [
    {"at": "day 2 08:00", "lost": {"edge": "north/1", "minutes": 60, "returns": "warm"}},
    {"at": "day 2 10:00", "lost": {"shield": "north", "minutes": 60}},
    {"at": "day 2 12:00", "slow": {"transit": "north", "minutes": 60, "keeps": 0.1}},
    {"at": "day 2 14:00", "slow": {"transit": "north", "minutes": 5}},
    {"at": "day 2 16:00", "origin": {"minutes": 60, "extra_ms": 500, "fails": 0.3}},
    {"at": "day 2 18:00", "disk_full": {"edge": "north/2", "minutes": 60}},
    {"at": "day 2 19:00", "republish": {"top": 10}},
    {"at": "day 2 20:00", "premiere": {"sessions": 200, "within_minutes": 5}},
    {"at": "day 2 22:00", "lost": {"edge": "north/1", "minutes": 30}},
    {"at": "day 2 22:00", "lost": {"edge": "north/2", "minutes": 20}},
]


def eventful(**changes: object) -> Scenario:
    return scenario(
        days={"counted": 1, "warm_up": 1},
        catalogue={"titles": 60, "minutes": [5, 20], "ladder": "web"},
        popularity__releases_per_day=3,
        popularity__republished_per_day=2,
        viewers__sessions_per_day=1500,
        viewers__seeks_per_hour=2,
        viewers__players=[{"share": 0.7, "rule": "dynamic"}, {"share": 0.3, "rule": "bola-e"}],
        viewers__access=[{"share": 1.0, "mbps": 8, "spread": 0.5, "rtt_ms": 20, "varies": "markov"}],
        edge={"disk": "8G", "gbps": 0.2, "pinned": 0.4},
        isps=[
            {
                "name": "north",
                "edges": 2,
                "replicas_of_top": 2,
                "transit": {"gbps": 0.2, "rtt_ms": 20},
                "shield": {"disk": "20G"},
            }
        ],
        events=EVENTS,
        **changes,
    )


def test_totals_balance_when_everything_fails_in_turn() -> None:
    tally = simulation.run(eventful(), 0, 3)
    assert all(edges(tally, decision) for decision in (HIT, DELAYED, CONTENT_MISS, HEALTH_MISS, PASSED, FAILED))
    assert tally.away > 0
    assert int(tally.requests[tally.edges, HEALTH_MISS].sum()) > 0
    experience = tally.experience.sum(axis=0)
    assert experience[SESSIONS] == experience[ENDED] + experience[GAVE_UP] + tally.active
    assert experience[SESSIONS] == 2 * 1500 + 200
    assert tally.fills and tally.fills[0].arrived > 0


def test_totals_that_do_not_balance_raise_an_error() -> None:
    tally = simulation.run(scenario(), 0, 1)
    tally.sent[0, CONTENT_MISS, 5] += 1_000_000
    with pytest.raises(HeadendError, match="counts of north don't balance"):
        tally.check()


def test_the_same_seed_gives_the_same_counts_and_another_seed_does_not() -> None:
    first, again, other = (simulation.run(eventful(), 0, seed) for seed in (5, 5, 6))
    for name in ("requests", "sent", "traffic", "experience", "fill"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.requests != other.requests).any()


@pytest.mark.skipif(not COMPILES, reason="kernels are not compiled")
def test_the_engine_is_compiled_once_for_all_scenarios() -> None:
    for given in (scenario(edge__pinned=0.5), eventful()):
        simulation.run(given, 0, 1)
    for sizes_bits in (np.ones((3, 2)), np.ones((2, 3)).T):
        watch(0, Network(np.array([[1e6, 1e6, 1.0]])), sizes_bits, np.ones(2), 1000.0, 9000.0, may_abandon=False)
    kernels: tuple[Any, ...] = (advance, drop_renditions, _play)
    assert [len(kernel.signatures) for kernel in kernels] == [1, 1, 1]


def test_a_lost_edge_sends_its_viewers_to_the_other_one() -> None:
    lost = [{"at": "day 1 12:00", "lost": {"edge": "north/1", "minutes": 600, "returns": "warm"}}]
    given = scenario(
        isps=[{"name": "north", "edges": 2, "transit": {"gbps": 1000, "rtt_ms": 0}, "shield": {"disk": "1K"}}],
        events=lost,
    )
    tally = simulation.run(given, 0, 1)
    by_hour = tally.requests[:2].sum(axis=1)
    assert by_hour[0, 13:21].sum() == 0 < by_hour[0, :11].sum()
    assert (by_hour[1, 13:21] > 0).all()
    assert tally.requests[1, HEALTH_MISS, 13:21].sum() > 0
    assert not tally.experience[:, GAVE_UP].any()


def test_an_edge_that_returns_cold_has_lost_its_objects() -> None:
    def hits(returns: str) -> int:
        lost = [{"at": "day 2 12:00", "lost": {"edge": "north/1", "minutes": 1, "returns": returns}}]
        tally = simulation.run(scenario(days={"counted": 2}, events=lost, edge__disk="20G"), 0, 1)
        return int(tally.requests[0, HIT, 36:].sum())

    assert hits("cold") < hits("warm")


def test_without_an_edge_viewers_are_served_from_the_shield() -> None:
    lost = [{"at": "day 1 10:00", "lost": {"edge": "north/1", "minutes": 120}}]
    tally = simulation.run(scenario(events=lost), 0, 1)
    assert tally.away > 0
    assert tally.requests[0, HEALTH_MISS, 10:12].sum() == tally.requests[0, :, 11].sum() + (
        tally.requests[0, HEALTH_MISS, 10].sum()
    )


def test_a_cut_link_fails_requests_and_viewers_give_up_in_the_end() -> None:
    cut = [{"at": "day 1 00:00", "slow": {"transit": "north", "minutes": 1440}}]
    tally = simulation.run(scenario(events=cut), 0, 1)
    assert edges(tally, FAILED) > 0
    assert tally.experience[:, GAVE_UP].sum() > 150
    assert edges(tally, HIT) == 0


def test_a_republished_title_is_missed_again() -> None:
    again = [{"at": "day 2 00:00", "republish": {"top": 20}}]
    misses = [
        edges(simulation.run(scenario(days={"counted": 2}, edge__disk="50G", events=events), 0, 1), CONTENT_MISS)
        for events in ([], again)
    ]
    assert misses[1] == pytest.approx(2 * misses[0], rel=0.05)


def test_nothing_is_filled_in_a_missed_window() -> None:
    changes: dict[str, object] = {"days": {"counted": 4}, "edge__pinned": 0.8, "edge__disk": "1G"}
    whole = simulation.run(scenario(**changes), 0, 1)
    missed = simulation.run(
        scenario(**changes, events=[{"at": "day 3 02:00", "window_missed": {"isp": "north"}}]), 0, 1
    )
    assert [night.day for night in whole.fills] == [1, 2, 3]
    assert [night.day for night in missed.fills] == [1, 3]


def test_a_planned_object_that_has_not_arrived_is_a_late_fill() -> None:
    slow = {"from": "02:00", "hours": 12, "mbps": 0.1}
    tally = simulation.run(
        scenario(days={"counted": 3}, edge={"disk": "1G", "gbps": 1000, "pinned": 0.9, "fill": slow}), 0, 1
    )
    assert edges(tally, LATE_FILL) > 0
    assert tally.fills[0].late > 0
    assert tally.fills[0].arrived <= 0.1e6 / 8 * 12 * 3600


def test_each_decision_has_a_name() -> None:
    assert len(DECISIONS) == 7 and DECISIONS[FAILED] == "failed"
