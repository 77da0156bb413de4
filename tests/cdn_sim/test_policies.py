import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_sim import batch, policies
from cdn_sim.admission import AdmitBySize, AdmitNone, AdmitSecondRequest
from cdn_sim.kernels.state import ABSENT, GHOST, MARK, NUMBERS, USED, empty
from cdn_sim.kernels.step import make_room, remove
from cdn_sim.policies import POLICIES, Belady, Policy
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ConfigError
from tests.cdn_sim.traces import TRACES

GOLDEN = json.loads((Path(__file__).parent / "golden/policies.json").read_text())["traces"]
CACHES = [(trace, number) for trace in GOLDEN for number in range(len(GOLDEN[trace]["caches"]))]
COMPILED = pytest.mark.usefixtures("kernels")


def digest(hits: bytes) -> str:
    return hashlib.sha256(hits).hexdigest()[:16]


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_the_ones_that_the_golden_numbers_belong_to(name: str) -> None:
    numbers, sizes = TRACES[name]()
    golden = GOLDEN[name]
    assert hashlib.sha256(numbers.astype("<i4").tobytes()).hexdigest() == golden["sha256_of_ids_le_int32"]
    assert int(sizes[numbers].sum()) == golden["bytes"]


@COMPILED
@pytest.mark.parametrize(("trace", "cache"), CACHES)
def test_kernels_give_the_golden_decisions(trace: str, cache: int) -> None:
    numbers, sizes = TRACES[trace]()
    golden = GOLDEN[trace]["caches"][cache]
    for policy, expected in golden["policies"].items():
        hits = batch.play(policy, numbers, sizes, golden["budget_bytes"])
        found = batch.outcome(numbers, sizes, hits)
        assert (policy, found.misses, found.missed_bytes) == (policy, expected["misses"], expected["missed_bytes"])
        if "sha256_of_hits_one_byte_each" in expected:
            assert digest(hits.tobytes()) == expected["sha256_of_hits_one_byte_each"]


@pytest.mark.parametrize("policy", GOLDEN["irm"]["caches"][0]["policies"])
def test_classes_give_the_golden_decisions(policy: str) -> None:
    numbers, sizes = (values.tolist() for values in TRACES["watching"]())
    golden = GOLDEN["watching"]["caches"][1]
    budget_bytes, expected = golden["budget_bytes"], golden["policies"][policy]
    cache = Belady(budget_bytes, future=numbers) if policy == "belady" else policies.make(policy, budget_bytes)
    hits = bytes(cache.request(number, sizes[number]).hit for number in numbers)
    assert len(hits) - sum(hits) == expected["misses"]
    if "sha256_of_hits_one_byte_each" in expected:
        assert digest(hits) == expected["sha256_of_hits_one_byte_each"]


def test_slru_equals_the_memory_cache_of_origin_and_edges() -> None:
    numbers, sizes = (values.tolist() for values in TRACES["watching"]())
    evicted: list[str] = []
    shelf: SegmentedLRU[str, int] = SegmentedLRU(2_088_273_230, on_eviction=lambda key, _: evicted.append(key))
    cache = policies.make("slru", 2_088_273_230)
    for number in numbers[:60_000]:
        key = str(number)
        verdict = cache.request(key, sizes[number])
        assert verdict.hit == (shelf.get(key) is not None)
        if not verdict.hit:
            shelf.put(key, 1, sizes[number])
        assert list(verdict.evicted) == evicted
        evicted.clear()


OBJECTS = 12
Operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["request"] * 5 + ["remove", "pin", "unpin"]), st.integers(0, OBJECTS - 1)),
    ),
    max_size=120,
)


@COMPILED
@pytest.mark.parametrize("policy", POLICIES)
@given(
    operations=Operations,
    sizes=st.lists(st.integers(0, 30), min_size=OBJECTS, max_size=OBJECTS),
    budget_bytes=st.integers(1, 150),
)
@settings(max_examples=25, deadline=None)
def test_class_and_kernel_make_equal_decisions(
    policy: str, operations: list[tuple[str, int]], sizes: list[int], budget_bytes: int
) -> None:
    cache = policies.make(policy, budget_bytes)
    state = empty(policy, OBJECTS)
    weights = np.array(sizes, dtype=np.int64)
    arrays = (state.nodes, state.totals, state.heap, state.worth, state.clocks)
    pinned: set[int] = set()
    for operation, number in operations:
        if operation == "request":
            verdict = cache.request(number, sizes[number])
            if number in pinned:
                assert verdict.hit
            else:
                asked = np.array([number], dtype=np.int32)
                assert batch.play(policy, asked, weights, cache.room_bytes, state)[0] == verdict.hit
        elif operation == "remove":
            cache.remove(number)
            pinned.discard(number)
            remove(NUMBERS[policy], number, weights, *arrays)
        elif operation == "pin":
            if number in pinned or cache.pinned_bytes + sizes[number] > budget_bytes:
                continue
            cache.pin([(number, sizes[number])])
            pinned.add(number)
            remove(NUMBERS[policy], number, weights, *arrays)
            make_room(NUMBERS[policy], weights, cache.room_bytes, *arrays)
        else:
            assert cache.unpin([number]) == ((number,) if number in pinned else ())
            pinned.discard(number)
        assert cache.used_bytes <= budget_bytes
        assert cache.used_bytes == cache.pinned_bytes + state.totals[USED]
        held = {each for each in range(OBJECTS) if state.nodes[each, MARK] & 3 not in (ABSENT, GHOST)}
        assert {each for each in range(OBJECTS) if each in cache} == held | pinned


@pytest.mark.parametrize("policy", POLICIES)
def test_evictions_and_admissions_account_for_all_that_is_stored(policy: str) -> None:
    cache = policies.make(policy, 5_000_000)
    held: set[Any] = set()
    numbers, sizes = (values.tolist() for values in TRACES["watching"]())
    for number in numbers[:3000]:
        verdict = cache.request(number, sizes[number])
        assert verdict.hit == (number in held)
        held.difference_update(verdict.evicted)
        if verdict.admitted:
            held.add(number)
        assert len(cache) == len(held)


@pytest.mark.parametrize("policy", POLICIES)
def test_pinned_objects_are_never_evicted(policy: str) -> None:
    cache = policies.make(policy, 100)
    cache.request("old", 9)
    assert cache.pin([("planned", 95)]) == ("old",)
    for number in range(50):
        cache.request(number, 2)
    assert cache.request("planned", 95).hit
    assert cache.used_bytes <= 100


def test_a_planned_part_larger_than_the_cache_is_refused_completely() -> None:
    cache = policies.make("slru", 100)
    with pytest.raises(ValueError, match="100 bytes"):
        cache.pin([("a", 60), ("b", 60)])
    assert "a" not in cache


def test_an_object_larger_than_the_cache_is_not_stored() -> None:
    for policy in POLICIES:
        cache = policies.make(policy, 100)
        verdict = cache.request("film", 101)
        assert not (verdict.hit or verdict.admitted or verdict.evicted)


def test_the_error_for_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'arc': use one of slru, lru"):
        policies.make("arc", 1)


class TestAdmission:
    def cache(self, admission: Any) -> Policy:
        return policies.make("lru", 1000, admission)

    def test_second_request_stores_at_the_second_request(self) -> None:
        cache = self.cache(AdmitSecondRequest())
        assert [cache.request("a", 1).admitted for _ in range(3)] == [False, True, False]
        assert cache.request("a", 1).hit

    def test_second_request_forgets_after_two_generations(self) -> None:
        cache = self.cache(AdmitSecondRequest(remembered=2))
        cache.request("a", 1)
        for key in "bcde":
            cache.request(key, 1)
        assert not cache.request("a", 1).admitted

    def test_large_objects_are_turned_away_by_size(self) -> None:
        cache = self.cache(AdmitBySize(10))
        assert cache.request("small", 10).admitted
        assert not cache.request("large", 11).admitted

    def test_planned_only_stores_only_pinned_objects(self) -> None:
        cache = self.cache(AdmitNone())
        cache.pin([("planned", 10)])
        assert not cache.request("other", 1).admitted
        assert cache.request("planned", 10).hit


@COMPILED
def test_sieve_beats_lru_only_while_the_catalogue_does_not_change() -> None:
    """Constant popularity favours SIEVE; with releases, LRU is better."""
    rng = np.random.default_rng(5)
    sessions, titles, segments = 6000, 400, 60
    kind = rng.random(sessions)
    early, anywhere = rng.integers(1, segments // 10, sessions), rng.integers(1, segments, sessions)
    lengths = np.where(kind < 0.45, early, np.where(kind < 0.75, anywhere, segments))
    starts = np.sort(rng.integers(0, 20_000, sessions))
    weights = 1 / (np.arange(1, titles + 1) + 3) ** 0.9
    ranks = rng.choice(titles, sessions, p=weights / weights.sum())
    still, churning = ranks, (starts * titles // 20_000 - ranks) % titles

    def gain(chosen: Any) -> float:
        session = np.repeat(np.arange(sessions), lengths)
        segment = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        order = np.lexsort((session, starts[session] + segment))
        numbers = (chosen[session] * segments + segment)[order].astype(np.int32)
        sizes = np.ones(titles * segments, dtype=np.int64)
        sieve, lru = (batch.play(name, numbers, sizes, titles * segments // 5).mean() for name in ("sieve", "lru"))
        return float(sieve - lru)

    assert gain(still) > 0.05
    assert gain(churning) < -0.05
