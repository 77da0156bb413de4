"""Cache policies as classes, used by live edges and `replay`.

`cdn_sim.kernels` has the same policies for compiled simulation; a contract test checks that both decide alike. Nothing
here imports numpy or numba, so that edges start fast and use little memory.
"""

from cdn_sim.admission import Admission
from cdn_sim.policies.base import HIT, PASSED, Key, Policy, Verdict
from cdn_sim.policies.belady import Belady
from cdn_sim.policies.fifo import Fifo
from cdn_sim.policies.gdsf import Gdsf, Lfuda
from cdn_sim.policies.lru import Lru
from cdn_sim.policies.s3fifo import S3Fifo
from cdn_sim.policies.sieve import Sieve
from cdn_sim.policies.slru import Slru
from headend.core.errors import ConfigError

POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Slru, Lru, Fifo, Sieve, S3Fifo, Gdsf, Lfuda)}
"""Policies for live edges, by name; the default first."""
DEFAULT_POLICY = Slru.name


def make(name: str, budget_bytes: int, admission: Admission | None = None) -> Policy:
    """Make an empty cache.

    Args:
        name: One of `POLICIES`.
        budget_bytes: Size of the cache.
        admission: Rule for storing missed objects; None stores all.

    Raises:
        ConfigError: There is no such policy.
    """
    if name not in POLICIES:
        raise ConfigError(f"there is no cache policy {name!r}: use one of {', '.join(POLICIES)}")
    return POLICIES[name](budget_bytes, admission)


__all__ = [
    "DEFAULT_POLICY",
    "HIT",
    "PASSED",
    "POLICIES",
    "Belady",
    "Fifo",
    "Gdsf",
    "Key",
    "Lfuda",
    "Lru",
    "Policy",
    "S3Fifo",
    "Sieve",
    "Slru",
    "Verdict",
    "make",
]
