"""Monthly costs of a provider's traffic."""

from dataclasses import dataclass

from cdn_sim.model import Prices

DAYS_PER_MONTH = 30.4375


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's costs, in the prices' currency.

    Attributes:
        transit: Transit, billed by the 95th percentile of five-minute means.
        gets: Requests to S3.
        egress: Bytes from S3.
        edges: Machines of the edges and the shield.
    """

    transit: float
    gets: float
    egress: float
    edges: float

    @property
    def total(self) -> float:
        """Sum of all costs."""
        return self.transit + self.gets + self.egress + self.edges


def monthly_bill(
    prices: Prices, *, days: float, p95_mbps: float, origin_requests: float, origin_bytes: float, machines: int
) -> Bill:
    """Scale the costs of some days to a month.

    Args:
        prices: Unit prices.
        days: Number of days that the counts cover.
        p95_mbps: Billed rate of transit.
        origin_requests: Requests to S3 in these days.
        origin_bytes: Bytes from S3 in these days.
        machines: Number of edges and shields.
    """
    months = days / DAYS_PER_MONTH
    return Bill(
        p95_mbps * prices.transit_per_mbps_month,
        origin_requests / 1000 * prices.s3_get_per_1000 / months,
        origin_bytes / 1e9 * prices.s3_egress_per_gb / months,
        machines * prices.edge_month,
    )
