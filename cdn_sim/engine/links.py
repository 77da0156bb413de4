"""Links as fluids: each transfer reserves capacity second by second, at most its fair share.

So a link never exceeds its capacity in any second, and N long flows get 1/N each.
"""

import math

from cdn_sim.compiling import Array, called, inlined, whole
from cdn_sim.engine.state import BIN_MS, CLASSES, FLOW_TICKS, SLOTS, TICK_MS, TICKS_PER_SECOND, Counts, Links


@inlined
def begin_tick(tick: int, links: Links) -> None:
    """Drop the flows that have ended, and update each link's free capacity and fair share."""
    if tick % TICKS_PER_SECOND == 0:
        links.carried[:, (tick // TICKS_PER_SECOND - 1) % SLOTS] = 0.0
    bin_now = min(whole(tick * float(TICK_MS), float(BIN_MS)), links.fill.shape[1] - 1)
    active, wanted, ending, ending_wanted = links.active, links.wanted, links.ending, links.ending_wanted
    for link in range(links.capacity.shape[0]):
        place = (tick - 1) % FLOW_TICKS
        for kind in range(CLASSES):
            if ending[link, place, kind] != 0.0:
                active[link, kind] = max(0.0, active[link, kind] - ending[link, place, kind])
                wanted[link, kind] = max(0.0, wanted[link, kind] - ending_wanted[link, place, kind])
                ending[link, place, kind] = 0.0
                ending_wanted[link, place, kind] = 0.0
        links.free[link] = max(0.0, links.capacity[link] - links.fill[link, bin_now])
        links.share[link] = fair_share(links.free[link], active[link], wanted[link])


@inlined
def transfer(
    link: int, start_ms: float, size: float, most_rate: float, tick: int, links: Links, counts: Counts
) -> float:
    """Send an object over a link at its fair share; returns when the last byte arrives, in ms.

    Args:
        link: The link.
        start_ms: When the first byte is sent.
        size: Bytes of the object.
        most_rate: Maximum rate of this flow, in bytes per ms.
        tick: Current tick.
        links: The links.
        counts: The counters.
    """
    rate = min(most_rate, max(links.share[link], 1e-6))
    end_ms = reserve(link, start_ms, size, rate, links.free[link], links.carried, counts.traffic, counts.tail)
    join(
        link,
        start_ms,
        end_ms,
        most_rate,
        tick,
        links.active,
        links.wanted,
        links.ending,
        links.ending_wanted,
    )
    return end_ms


@inlined
def fair_share(capacity: float, active: Array, wanted: Array) -> float:
    """Max-min fair share of a link: slower flows get their full rate, the others share the rest equally."""
    left, flows = capacity, 0.0
    for number in range(CLASSES):
        flows += active[number]
    share = capacity
    for number in range(CLASSES):
        if active[number] > 1e-9:
            share = left / flows
            if wanted[number] > share * active[number]:
                break
            left -= wanted[number]
            flows -= active[number]
            share = capacity
            if flows <= 1e-9:
                break
    return max(share, 1e-6)


@called
def reserve(
    link: int,
    start_ms: float,
    size: float,
    rate: float,
    capacity: float,
    carried: Array,
    traffic: Array,
    tail: Array,
) -> float:
    """Reserve capacity on a link for a transfer; returns when its last byte arrives, in ms."""
    slot = whole(start_ms, 1000.0)
    now_ms, left = start_ms, size
    finish_ms = -1.0
    for _ in range(SLOTS - 2):
        place = slot % SLOTS
        end_ms = (slot + 1) * 1000.0
        span_ms = end_ms - now_ms
        can = min(rate * span_ms, capacity * 1000.0 - carried[link, place])
        if can > 0.0:
            share = min(can, left)
            carried[link, place] += share
            traffic[link, min(whole(now_ms, float(BIN_MS)), traffic.shape[1] - 1)] += share
            if left <= can + 1e-3:
                finish_ms = now_ms + span_ms * share / can
                break
            left -= share
        now_ms = end_ms
        slot += 1
    if finish_ms < 0.0:
        tail[link] += left
        traffic[link, min(whole(now_ms, float(BIN_MS)), traffic.shape[1] - 1)] += left
        finish_ms = now_ms
    return finish_ms


@inlined
def join(
    link: int,
    start_ms: float,
    end_ms: float,
    rate: float,
    tick: int,
    active: Array,
    wanted: Array,
    ending: Array,
    ending_wanted: Array,
) -> None:
    """Count a flow as active on a link until its end."""
    kind = min(max(int(math.log2(rate)), 0), CLASSES - 1)
    weight = min(1.0, (end_ms - start_ms) / TICK_MS)
    last = min(whole(end_ms, float(TICK_MS)), tick + FLOW_TICKS - 1)
    place = max(last, tick) % FLOW_TICKS
    active[link, kind] += weight
    wanted[link, kind] += weight * rate
    ending[link, place, kind] += weight
    ending_wanted[link, place, kind] += weight * rate
