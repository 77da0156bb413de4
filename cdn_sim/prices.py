"""What a provider's traffic costs in a month."""

from dataclasses import dataclass

from cdn_sim.model import Prices

DAYS_PER_MONTH = 30.4375


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's costs, in the prices' currency.

    Attributes:
        transit: By the 95th percentile of five-minute means.
        gets: Requests to S3.
        egress: Bytes out of S3.
        edges: Edges and shields.
    """

    transit: float
    gets: float
    egress: float
    edges: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.transit + self.gets + self.egress + self.edges


def bill(
    prices: Prices, *, days: float, p95_mbps: float, origin_requests: float, origin_bytes: float, machines: int
) -> Bill:
    """Add up what some days cost, as a month of such days.

    Args:
        prices: Per unit.
        days: How many days the other numbers are of.
        p95_mbps: Billed rate of transit.
        origin_requests: Requests that reach S3.
        origin_bytes: Bytes that leave S3.
        machines: Edges and shields.
    """
    months = days / DAYS_PER_MONTH
    return Bill(
        p95_mbps * prices.transit_per_mbps_month,
        origin_requests / 1000 * prices.s3_get_per_1000 / months,
        origin_bytes / 1e9 * prices.s3_egress_per_gb / months,
        machines * prices.edge_month,
    )
