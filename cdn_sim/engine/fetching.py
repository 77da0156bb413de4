"""The way of an object to the edge: from its disk, else from the shield, else from the origin through the shield."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.engine.caches import drop, look_up
from cdn_sim.engine.chance import chance
from cdn_sim.engine.links import transfer
from cdn_sim.engine.state import NEVER, RETRIES, Caches, Counts, Links, Now, ObjectRequest, Rules
from cdn_sim.kernels.state import FIRST, MARK, SECOND, SPARE
from cdn_sim.outcomes import CONTENT_MISS, DELAYED, FAILED, HEALTH_MISS, HIT, LATE_FILL, PASSED


@inlined
def fetch(
    request: ObjectRequest,
    now: Now,
    cursor: Array,
    sizes: Array,
    caches: Caches,
    links: Links,
    counts: Counts,
    rules: Rules,
) -> tuple[int, float, float]:
    """Request an object at an edge, which fetches it on a miss.

    Args:
        request: The request.
        now: The current time.
        cursor: See `cdn_sim.engine.state.BUCKET`.
        sizes: Bytes of each object.
        caches: The caches.
        links: The links.
        counts: The counters.
        rules: The parameters.

    Returns:
        The decision, the time to the first byte in ms, and when the last byte is at the edge (0 on a hit).
    """
    decision = HIT
    edge, number = request.edge, request.number
    wait_ms = request.rtt_ms
    ready_ms = 0.0
    is_hit = False
    planned = NEVER
    if edge >= 0:
        planned = caches.planned_ms[edge, request.title, request.rendition]
    if planned <= now.ms:
        is_hit = True
    elif edge >= 0:
        is_hit, ready_ms = look_up(edge, number, now.ms, sizes, caches)
        if ready_ms > 0.0:
            decision = DELAYED
    if not is_hit:
        if request.diverted:
            decision = HEALTH_MISS
        elif planned != NEVER:
            decision = LATE_FILL
        elif caches.nodes[edge, number, MARK] & 3 in (FIRST, SECOND):
            decision = CONTENT_MISS
        else:
            decision = PASSED
        failed, wait_ms, ready_ms = pull(request, wait_ms, now, cursor, sizes, caches, links, counts, rules)
        if failed:
            decision = FAILED
    return decision, wait_ms, ready_ms


@inlined
def pull(
    request: ObjectRequest,
    wait_ms: float,
    now: Now,
    cursor: Array,
    sizes: Array,
    caches: Caches,
    links: Links,
    counts: Counts,
    rules: Rules,
) -> tuple[bool, float, float]:
    """Fetch an object from the shield, or from the origin through it.

    Returns:
        Whether the fetch failed, the time to the first byte in ms, and when the last byte is at the edge.
    """
    edge, number = request.edge, request.number
    edges: int = caches.order.shape[1]
    shield, transit, from_origin = edges, edges, edges + 1
    size = float(sizes[number])
    wait_ms += links.rtt_ms[transit]
    at_shield = False
    ready_ms = 0.0
    decision = HEALTH_MISS
    if caches.up[shield]:
        at_shield, ready_ms = look_up(shield, number, now.ms, sizes, caches)
        decision = CONTENT_MISS
        if at_shield:
            decision = DELAYED if ready_ms > 0.0 else HIT
    failed = False
    if links.free[transit] <= 0.0:
        failed = True
    if not at_shield:
        wait_ms += links.rtt_ms[from_origin] + rules.origin_extra_ms
        if links.free[from_origin] <= 0.0:
            failed = True
        if rules.origin_fails > 0.0 and not failed:
            cursor[RETRIES] += 1
            failed = chance(request.draw, cursor[RETRIES]) < rules.origin_fails
    if failed:
        if edge >= 0:
            drop(edge, number, sizes, caches)
        if not at_shield and caches.up[shield]:
            decision = FAILED
            drop(shield, number, sizes, caches)
    else:
        if not at_shield:
            arrives_ms = transfer(from_origin, now.ms + wait_ms, size, rules.fetch_rate, now.tick, links, counts)
            caches.nodes[shield, number, SPARE] = int(arrives_ms)
            ready_ms = max(ready_ms, arrives_ms)
        arrives_ms = transfer(transit, now.ms + wait_ms, size, rules.fetch_rate, now.tick, links, counts)
        ready_ms = max(ready_ms, arrives_ms)
        if edge >= 0:
            caches.nodes[edge, number, SPARE] = int(ready_ms)
        counts.sent[shield, decision, now.hour] += size
    counts.requests[shield, decision, now.hour] += 1
    return failed, wait_ms, ready_ms
