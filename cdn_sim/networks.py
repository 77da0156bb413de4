"""How the rates of viewers' access links vary over time."""

from collections.abc import Mapping, Sequence

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.model import Access
from cdn_sim.streams import stream_of, uniform
from headend.core.errors import ConfigError

STEPS = 1 << 13
"""Number of factors per access class; each applies for `cdn_sim.engine.state.RATE_STEP_MS`. They last four and a half
hours and repeat. Each viewer has a random offset."""
STATES = (0.3, 0.6, 1.0, 1.3, 1.6)
"""Factors of the Markov chain's states."""
STAY_PROBABILITY = 0.85
"""Probability that a state lasts another step."""


def factors(access: Sequence[Access], seed: int, traces: Mapping[str, Sequence[float]] | None = None) -> Array:
    """Factors by which the rates of access classes are multiplied over time: one row of `STEPS` numbers per class.

    Args:
        access: The access classes.
        seed: Seed of the run.
        traces: Values of the trace files that classes name; they are repeated and scaled to a mean of 1.

    Raises:
        ConfigError: A trace is missing or empty, has negative numbers, or is all 0.
    """
    rows = np.ones((len(access), STEPS))
    for number, access_class in enumerate(access):
        if access_class.trace:
            values = np.array((traces or {}).get(access_class.trace, ()), dtype=np.float64)
            if not len(values) or not np.isfinite(values).all() or values.min() < 0 or values.mean() <= 0:
                raise ConfigError(
                    f"viewers.access: trace {access_class.trace} must have numbers, none negative and not all 0"
                )
            rows[number] = np.resize(values / values.mean(), STEPS)
        elif access_class.varies == "markov":
            rows[number] = _markov(stream_of(seed, f"access {number}"))
    return rows


def _markov(stream: int) -> Array:
    drawn = uniform(stream, np.arange(STEPS))
    states = np.zeros(STEPS, dtype=np.int64)
    state = 2
    for step, value in enumerate(drawn):
        if value >= STAY_PROBABILITY:
            up = value >= (1 + STAY_PROBABILITY) / 2
            state = min(max(state + (1 if up else -1), 0), len(STATES) - 1)
        states[step] = state
    chain = np.array(STATES)[states]
    return np.asarray(chain / chain.mean())
