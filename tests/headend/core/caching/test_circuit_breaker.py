from hypothesis import given
from hypothesis import strategies as st

from headend.core.caching.circuit_breaker import (
    FAILURES,
    MAX_SAVED_RETRIES,
    PROBE_EVERY_S,
    RETRIES_PER_READ,
    CircuitBreaker,
    RetryBudget,
)


def test_after_a_pause_one_request_at_a_time_is_tried_until_one_succeeds() -> None:
    now_s = 0.0
    breaker = CircuitBreaker(lambda: now_s)
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.note(failed=True)
    assert not breaker.allows()
    now_s += PROBE_EVERY_S
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.note(failed=True)
    assert not breaker.allows()
    now_s += PROBE_EVERY_S
    assert breaker.allows()
    breaker.note(failed=False)
    assert [breaker.allows() for _ in range(3)] == [True] * 3


def test_a_success_among_failures_keeps_the_store_in_use() -> None:
    breaker = CircuitBreaker(lambda: 0.0)
    for failed in [*[True] * (FAILURES - 1), False, *[True] * (FAILURES - 1)]:
        breaker.note(failed=failed)
    assert breaker.allows()


@given(st.lists(st.booleans(), max_size=500))
def test_retries_never_exceed_a_tenth_of_successes_plus_the_saved_budget(events: list[bool]) -> None:
    budget = RetryBudget()
    granted = earned = 0
    for goes_well in events:
        if goes_well:
            budget.earn()
            earned += 1
        else:
            granted += budget.spend()
    assert granted <= MAX_SAVED_RETRIES + RETRIES_PER_READ * earned + 1e-6


def test_a_store_that_only_fails_is_retried_a_few_times_in_all() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(1000)) == MAX_SAVED_RETRIES
