"""The engine: sessions, players, caches and links of one internet provider in one loop.

Time moves in ticks of 100 ms on a wheel. An event is "session s asks for its next segment": its player chooses a
quality, steering an edge, the edge's policy decides, a miss goes on to the shield and the origin, and links say how
long the bytes take. So hits and misses feed back into throughput, and throughput into what is asked for next.

A link is a fluid: it has a capacity per second, of which each transfer reserves what it takes, second by second, at no
more than its fair share. So no second ever carries more than the link can, and N long flows get one N-th each.
"""

import math
from typing import NamedTuple

import numpy as np

from cdn_sim import steering
from cdn_sim.compiling import Array, called, compiled, inlined, whole
from cdn_sim.kernels.state import SPARE
from cdn_sim.kernels.step import remove, step
from cdn_sim.players.choosing import choose, downloaded, waited
from cdn_sim.players.state import reset

pick = inlined(steering.pick)

TICK_MS = 100
WHEEL = 1 << 14
"""Ticks that lie on the wheel: 27 minutes. Later events go round again."""
SLOTS = 256
"""Seconds ahead that links can be reserved."""
FLOW_TICKS = 1 << 10
"""Ticks ahead in which the end of a flow is known; longer flows count as this long."""
CLASSES = 16
"""Classes of flows by rate, a power of two each, for fair shares."""
BIN_MS = 300_000
"""Traffic is recorded in bins of five minutes, as transit is billed."""
HOUR_MS = 3_600_000
RETRY_MS = 2_000.0
"""How long a player waits after a failed request."""
MOST_RETRIES = 30
"""Failed requests in a row after which a viewer gives up."""
START_TRIPS = 3.0
"""Round trips before the first segment: multivariant playlist or MPD, media playlist, init segment."""
LEAST_TRANSFER_MS = 1.0

HIT, DELAYED, CONTENT_MISS, HEALTH_MISS, LATE_FILL, PASSED, FAILED = range(7)
DECISIONS = ("hit", "delayed", "content miss", "health miss", "late fill", "passed", "failed")
"""What became of a request at a cache, in the order of the numbers. All but the first two and the last are misses."""

(SESSIONS, SEGMENTS, STALL_MS, STALLS, START_MS, KBPS, CHANGE_KBPS, GAVE_UP, ENDED) = range(9)
SEEN = ("sessions", "segments", "stall_ms", "stalls", "start_ms", "kbps", "change_kbps", "gave_up", "ended")
"""What viewers saw, summed by hour, in the order of the numbers; ``kbps`` is a sum over segments."""

BUCKET, ARRIVAL, ACTIVE, PEAK, RECORDED, RETRIES = range(6)
"""Cursor: next tick, next session to arrive, sessions that play, their largest number, requests recorded, retries."""


class Titles(NamedTuple):
    """What is asked for.

    Attributes:
        sizes: Bytes of each object.
        segments: Segments of each title.
        rates: Bit rates in kbit/s by device and quality.
        utilities: Their utilities.
        counts: Rungs by device.
        firsts: The first rung's number among all renditions, by device.
        segment_ms: Length of a segment.
        sound: The rendition number of sound, or -1 if there is none.
    """

    sizes: Array
    segments: Array
    rates: Array
    utilities: Array
    counts: Array
    firsts: Array
    segment_ms: float
    sound: int


class Viewers(NamedTuple):
    """Sessions in order of their start; what they are, and what has become of them so far.

    Attributes:
        start_ms: When they come.
        title: What they watch.
        base: The first object of the title's version that they watch.
        segment: The segment that comes next.
        left: Segments that they still want.
        device: Which switching set they can play.
        rule: Their player's rule.
        most_ms: Their player's buffer.
        kbps: Rate of their access, before it varies.
        rtt_ms: Round trip to the edge.
        access: Class of access, and so the row of factors.
        offset: Where in that row they begin.
        draw: A number of their own, from which everything random follows.
        state: 0 not yet here, 1 starting, 2 playing, 3 gone.
        player: The player's memory.
        buffer_ms: What is buffered.
        due_ms: When the next event is.
        link: The next session on the same place of the wheel.
        pending: A quality that is chosen but not yet asked for, or -1.
        edge: The edge that is used, or -1.
        steer_ms: When steering is asked again.
        retries: Failed requests in a row.
        last: Quality of the last segment, or -1.
    """

    start_ms: Array
    title: Array
    base: Array
    segment: Array
    left: Array
    device: Array
    rule: Array
    most_ms: Array
    kbps: Array
    rtt_ms: Array
    access: Array
    offset: Array
    draw: Array
    state: Array
    player: Array
    buffer_ms: Array
    due_ms: Array
    link: Array
    pending: Array
    edge: Array
    steer_ms: Array
    retries: Array
    last: Array


class Caches(NamedTuple):
    """Edges, then the shield.

    Attributes:
        policy: Number of each cache's policy.
        room: Bytes of each cache's reactive part.
        largest: Largest object that each one stores.
        up: Whether each one works.
        nodes: Rows of each cache's objects; the spare column says until when an object is on its way, in ms.
        totals: Totals of each cache.
        heap: As in `cdn_sim.kernels.state.State`.
        worth: As there.
        clocks: As there.
        planned_ms: By edge, title and rendition: when it is there by plan; `NEVER` if it isn't planned.
        order: Edges of each title, the preferred one first.
        replicas: How many of those share each title's viewers.
    """

    policy: Array
    room: Array
    largest: Array
    up: Array
    nodes: Array
    totals: Array
    heap: Array
    worth: Array
    clocks: Array
    planned_ms: Array
    order: Array
    replicas: Array


NEVER = np.iinfo(np.int32).max


class Links(NamedTuple):
    """Links of the edges to their viewers, then transit (shield to edges), then the way to the origin.

    Attributes:
        capacity: Bytes per ms.
        free: What is left of that beside fill, in this tick.
        load: Share of each edge's link that is reserved in this second.
        rtt_ms: Round trip that each one adds.
        fill: Bytes per ms of proactive fill, by link and bin.
        carried: Bytes that are reserved, by link and second, as a ring.
        active: Flows by link and class.
        wanted: Sum of the rates that these flows could take, by link and class.
        ending: Flows that end, by link, tick (a ring) and class.
        ending_wanted: Their rates.
        share: Fair share by link, in bytes per ms.
        factors: By class of access and two seconds: by what its rate is multiplied.
    """

    capacity: Array
    free: Array
    load: Array
    rtt_ms: Array
    fill: Array
    carried: Array
    active: Array
    wanted: Array
    ending: Array
    ending_wanted: Array
    share: Array
    factors: Array


class Counts(NamedTuple):
    """What is counted.

    Attributes:
        requests: By cache, decision and hour.
        sent: Bytes, likewise.
        traffic: Bytes by link and bin of five minutes, without fill.
        seen: What viewers saw, by hour.
        views: Segments sent, by title and rendition, since this was last cleared.
        tail: Bytes that found no place within `SLOTS` seconds, by link.
        away: Bytes that went from the shield to viewers directly, since no edge was up.
        recorded: Rows of object and hit for the first requests at edge 0, as long as there is room.
    """

    requests: Array
    sent: Array
    traffic: Array
    seen: Array
    views: Array
    tail: Array
    away: Array
    recorded: Array


class Rules(NamedTuple):
    """Numbers that may change while time stands still.

    Attributes:
        seeks_per_ms: How often a viewer seeks.
        fetch_rate: The most that one fetch of an edge takes, in bytes per ms.
        origin_extra_ms: How much later the origin answers than it should.
        origin_fails: Share of the origin's answers that are errors.
        steer_every_ms: How long a viewer stays with an edge before steering is asked again.
    """

    seeks_per_ms: float
    fetch_rate: float
    origin_extra_ms: float
    origin_fails: float
    steer_every_ms: float


@inlined
def chance(draw: int, number: int) -> float:
    """A number from 0 to 1 that depends on its two arguments alone; 31-bit arithmetic, fast and good enough here."""
    mixed = (draw * 1_103_515_245 + number * 40_503 + 12_345) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 73_244_475) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 14)) * 73_244_475) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 15)) / 2147483648.0


@inlined
def fair_share(capacity: float, active: Array, wanted: Array) -> float:
    """Max-min share of a link: flows that want less get what they want, the others share the rest evenly."""
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
    """Find a place for a transfer on a link; returns when its last byte has passed, in ms."""
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
def flow(
    link: int,
    start_ms: float,
    end_ms: float,
    rate: float,
    bucket: int,
    active: Array,
    wanted: Array,
    ending: Array,
    ending_wanted: Array,
) -> None:
    """Count a flow on a link from now on until its end."""
    kind = min(max(int(math.log2(rate)), 0), CLASSES - 1)
    weight = min(1.0, (end_ms - start_ms) / TICK_MS)
    last = min(whole(end_ms, float(TICK_MS)), bucket + FLOW_TICKS - 1)
    place = max(last, bucket) % FLOW_TICKS
    active[link, kind] += weight
    wanted[link, kind] += weight * rate
    ending[link, place, kind] += weight
    ending_wanted[link, place, kind] += weight * rate


@compiled
def advance(
    until_ms: float,
    cursor: Array,
    wheel: Array,
    titles: Titles,
    viewers: Viewers,
    caches: Caches,
    links: Links,
    counts: Counts,
    rules: Rules,
) -> None:
    """Let time pass; everything but ``titles`` and ``rules`` is changed in place.

    Args:
        until_ms: How far, a whole number of ticks.
        cursor: Where time and arrivals stand.
        wheel: First session of each place, or -1.
        titles: What is asked for.
        viewers: The client's name or address.
        caches: Who answers.
        links: How the bytes travel.
        counts: What is counted.
        rules: Numbers.
    """
    sizes, title_segments, rates, utilities, rungs, firsts, segment_ms, sound = titles
    (
        start_ms,
        title_of,
        base_of,
        segment_of,
        left_of,
        device_of,
        rule_of,
        most_of,
        kbps_of,
        rtt_of,
        access_of,
        offset_of,
        draw_of,
        state_of,
        players,
        buffer_of,
        due_of,
        link_of,
        pending_of,
        edge_of,
        steer_of,
        retries_of,
        last_of,
    ) = viewers
    policy_of, room_of, largest_of, up, nodes, totals, heaps, worths, clocks, planned_ms, order, replicas = caches
    capacity, free, load, link_rtt, fill, carried, active, wanted, ending, ending_wanted, share, factors = links
    requests, sent, traffic, seen, views, tail, away, recorded = counts
    seeks_per_ms, fetch_rate, origin_extra_ms, origin_fails, steer_every_ms = rules

    edges: int = order.shape[1]
    shield: int = edges
    transit: int = edges
    way_to_origin: int = edges + 1
    sessions = len(start_ms)
    hours = requests.shape[2]
    bins = traffic.shape[1]
    bucket = cursor[BUCKET]
    end_bucket = whole(until_ms, float(TICK_MS))

    while bucket < end_bucket:
        tick_ms = bucket * float(TICK_MS)
        second = bucket // 10
        if bucket % 10 == 0:
            carried[:, (second - 1) % SLOTS] = 0.0
        bin_now = min(whole(tick_ms, float(BIN_MS)), bins - 1)
        for link in range(capacity.shape[0]):
            place = (bucket - 1) % FLOW_TICKS
            for kind in range(CLASSES):
                if ending[link, place, kind] != 0.0:
                    active[link, kind] = max(0.0, active[link, kind] - ending[link, place, kind])
                    wanted[link, kind] = max(0.0, wanted[link, kind] - ending_wanted[link, place, kind])
                    ending[link, place, kind] = 0.0
                    ending_wanted[link, place, kind] = 0.0
            free[link] = max(0.0, capacity[link] - fill[link, bin_now])
            share[link] = fair_share(free[link], active[link], wanted[link])
        here = bucket % WHEEL
        while cursor[ARRIVAL] < sessions and start_ms[cursor[ARRIVAL]] < tick_ms + TICK_MS:
            arriving = cursor[ARRIVAL]
            cursor[ARRIVAL] += 1
            if state_of[arriving] == 0:
                due_of[arriving] = max(start_ms[arriving], tick_ms)
                link_of[arriving] = wheel[here]
                wheel[here] = arriving
        hour = min(whole(tick_ms, float(HOUR_MS)), hours - 1)

        while wheel[here] >= 0:
            session = wheel[here]
            wheel[here] = link_of[session]
            now_ms = due_of[session]
            if now_ms >= tick_ms + TICK_MS:
                # Not yet: it goes round once more.
                place = min(whole(now_ms, float(TICK_MS)), bucket + WHEEL - 1) % WHEEL
                link_of[session] = wheel[place]
                wheel[place] = session
                continue
            next_ms = now_ms
            rtt_ms = rtt_of[session]
            if state_of[session] == 0:
                state_of[session] = 1
                seen[hour, SESSIONS] += 1
                cursor[ACTIVE] += 1
                cursor[PEAK] = max(cursor[PEAK], cursor[ACTIVE])
                next_ms = now_ms + START_TRIPS * rtt_ms
            else:
                title, device = title_of[session], device_of[session]
                segment, segments = segment_of[session], title_segments[title_of[session]]
                rule, row = rule_of[session], players[session]
                count = rungs[device]
                delay_ms = 0.0
                if pending_of[session] >= 0:
                    quality = int(pending_of[session])
                    pending_of[session] = -1
                else:
                    quality, delay_ms = choose(
                        rule,
                        row,
                        buffer_of[session],
                        segment,
                        segments,
                        rates[device],
                        utilities[device],
                        count,
                        segment_ms,
                        most_of[session],
                    )
                if delay_ms > 0.0:
                    pending_of[session] = quality
                    buffer_of[session] = max(0.0, buffer_of[session] - delay_ms)
                    next_ms = now_ms + delay_ms
                else:
                    # Who answers.
                    for edge in range(edges):
                        load[edge] = carried[edge, second % SLOTS] / max(1.0, free[edge] * 1000.0)
                    current = edge_of[session]
                    if now_ms >= steer_of[session]:
                        current = -1
                    chosen, diverted = pick(order[title], replicas[title], draw_of[session], up, load, current)
                    if chosen != current:
                        edge_of[session] = chosen
                        steer_of[session] = now_ms + steer_every_ms

                    step_s = (whole(now_ms, 2000.0) + offset_of[session]) % factors.shape[1]
                    rate = max(1e-3, kbps_of[session] / 8.0 * factors[access_of[session], step_s])
                    finish_ms, latency_ms, transfer_ms = now_ms, rtt_ms, 0.0
                    failed = False
                    for part in range(2 if sound >= 0 else 1):
                        rendition = firsts[device] + quality if part == 0 else sound
                        number = base_of[session] + rendition * segments + segment
                        size = float(sizes[number])
                        ready_ms = 0.0
                        wait_ms = rtt_ms
                        stored_hit = False
                        decision = HIT
                        planned = NEVER
                        if chosen >= 0:
                            planned = planned_ms[chosen, title, rendition]
                        if planned <= now_ms:
                            stored_hit = True
                        elif chosen >= 0:
                            stored_hit = step(
                                policy_of[chosen],
                                number,
                                sizes[number] <= largest_of[chosen],
                                0.0,
                                sizes,
                                room_of[chosen],
                                nodes[chosen],
                                totals[chosen],
                                heaps[chosen],
                                worths[chosen],
                                clocks[chosen],
                            )
                            if stored_hit and nodes[chosen, number, SPARE] > now_ms:
                                decision = DELAYED
                                ready_ms = float(nodes[chosen, number, SPARE])
                        if not stored_hit:
                            if diverted:
                                decision = HEALTH_MISS
                            elif planned != NEVER:
                                decision = LATE_FILL
                            elif nodes[chosen, number, 2] & 3 in (1, 2):
                                decision = CONTENT_MISS
                            else:
                                decision = PASSED
                            # The shield, and behind it the origin.
                            wait_ms += link_rtt[transit]
                            up_rate = min(fetch_rate, max(share[transit], 1e-6))
                            at_shield = False
                            shield_decision = HEALTH_MISS
                            if up[shield]:
                                at_shield = step(
                                    policy_of[shield],
                                    number,
                                    sizes[number] <= largest_of[shield],
                                    0.0,
                                    sizes,
                                    room_of[shield],
                                    nodes[shield],
                                    totals[shield],
                                    heaps[shield],
                                    worths[shield],
                                    clocks[shield],
                                )
                                shield_decision = CONTENT_MISS
                                if at_shield:
                                    shield_decision = HIT
                                    if nodes[shield, number, SPARE] > now_ms:
                                        shield_decision = DELAYED
                                        ready_ms = float(nodes[shield, number, SPARE])
                            if free[transit] <= 0.0:
                                failed = True
                            if not at_shield:
                                wait_ms += link_rtt[way_to_origin] + origin_extra_ms
                                if free[way_to_origin] <= 0.0:
                                    failed = True
                                if origin_fails > 0.0 and not failed:
                                    cursor[RETRIES] += 1
                                    failed = chance(draw_of[session], cursor[RETRIES]) < origin_fails
                            if failed:
                                decision = FAILED
                                if chosen >= 0:
                                    remove(
                                        policy_of[chosen],
                                        number,
                                        sizes,
                                        nodes[chosen],
                                        totals[chosen],
                                        heaps[chosen],
                                        worths[chosen],
                                        clocks[chosen],
                                    )
                                if not at_shield and up[shield]:
                                    shield_decision = FAILED
                                    remove(
                                        policy_of[shield],
                                        number,
                                        sizes,
                                        nodes[shield],
                                        totals[shield],
                                        heaps[shield],
                                        worths[shield],
                                        clocks[shield],
                                    )
                            else:
                                if not at_shield:
                                    origin_rate = min(fetch_rate, max(share[way_to_origin], 1e-6))
                                    begin_ms = now_ms + wait_ms
                                    at_ms = reserve(
                                        way_to_origin,
                                        begin_ms,
                                        size,
                                        origin_rate,
                                        free[way_to_origin],
                                        carried,
                                        traffic,
                                        tail,
                                    )
                                    flow(
                                        way_to_origin,
                                        begin_ms,
                                        at_ms,
                                        fetch_rate,
                                        bucket,
                                        active,
                                        wanted,
                                        ending,
                                        ending_wanted,
                                    )
                                    nodes[shield, number, SPARE] = int(at_ms)
                                    ready_ms = max(ready_ms, at_ms)
                                begin_ms = now_ms + wait_ms
                                at_ms = reserve(transit, begin_ms, size, up_rate, free[transit], carried, traffic, tail)
                                flow(
                                    transit, begin_ms, at_ms, fetch_rate, bucket, active, wanted, ending, ending_wanted
                                )
                                ready_ms = max(ready_ms, at_ms)
                                if chosen >= 0:
                                    nodes[chosen, number, SPARE] = int(ready_ms)
                            requests[shield, shield_decision, hour] += 1
                            if not failed:
                                sent[shield, shield_decision, hour] += size
                        teller = chosen if chosen >= 0 else order[title, 0]
                        requests[teller, decision, hour] += 1
                        if failed:
                            break
                        sent[teller, decision, hour] += size
                        views[title, rendition] += 1
                        if chosen == 0 and cursor[RECORDED] < len(recorded):
                            recorded[cursor[RECORDED], 0] = number
                            recorded[cursor[RECORDED], 1] = stored_hit
                            cursor[RECORDED] += 1
                        # The way to the viewer: the second part follows the first on the same connection.
                        begin_ms = finish_ms if part else now_ms + wait_ms
                        if chosen >= 0:
                            door = min(rate, max(share[chosen], 1e-6))
                            end_ms = reserve(chosen, begin_ms, size, door, free[chosen], carried, traffic, tail)
                            flow(chosen, begin_ms, end_ms, rate, bucket, active, wanted, ending, ending_wanted)
                        else:
                            end_ms = begin_ms + size / rate
                            away[0] += size
                        finish_ms = max(end_ms, ready_ms)
                        if part == 0:
                            latency_ms = wait_ms
                            transfer_ms = max(LEAST_TRANSFER_MS, finish_ms - now_ms - wait_ms)

                    if failed:
                        retries_of[session] += 1
                        pending_of[session] = 0
                        edge_of[session] = -1
                        finish_ms = now_ms + RETRY_MS
                    took_ms = finish_ms - now_ms
                    if state_of[session] == 1:
                        if not failed:
                            state_of[session] = 2
                            seen[hour, START_MS] += finish_ms - start_ms[session]
                    elif took_ms > buffer_of[session]:
                        seen[hour, STALL_MS] += took_ms - buffer_of[session]
                        if buffer_of[session] > 0.0:
                            seen[hour, STALLS] += 1
                        buffer_of[session] = 0.0
                    else:
                        buffer_of[session] -= took_ms
                    next_ms = finish_ms
                    if failed:
                        if retries_of[session] > MOST_RETRIES:
                            seen[hour, GAVE_UP] += 1
                            state_of[session] = 3
                    else:
                        retries_of[session] = 0
                        buffer_of[session] += segment_ms
                        downloaded(
                            rule,
                            row,
                            quality,
                            buffer_of[session],
                            float(sizes[base_of[session] + (firsts[device] + quality) * segments + segment]) * 8.0,
                            latency_ms,
                            transfer_ms,
                            rates[device],
                            utilities[device],
                            count,
                            segment_ms,
                            most_of[session],
                        )
                        seen[hour, SEGMENTS] += 1
                        seen[hour, KBPS] += rates[device, quality]
                        if last_of[session] >= 0:
                            seen[hour, CHANGE_KBPS] += abs(rates[device, quality] - rates[device, last_of[session]])
                        last_of[session] = quality
                        segment_of[session] = segment + 1
                        left_of[session] -= 1
                        if seeks_per_ms > 0.0:
                            wanted_seek = chance(draw_of[session], 2 * left_of[session])
                            if wanted_seek < seeks_per_ms * segment_ms:
                                goal = int(chance(draw_of[session], 2 * left_of[session] + 1) * segments)
                                segment_of[session] = goal
                                buffer_of[session] = 0.0
                                reset(row, goal)
                        if left_of[session] <= 0 or segment_of[session] >= segments:
                            state_of[session] = 3
                            seen[hour, ENDED] += 1
                        else:
                            full_ms = buffer_of[session] + segment_ms - most_of[session]
                            if full_ms > 0.0:
                                buffer_of[session] -= full_ms
                                next_ms = finish_ms + full_ms
                                waited(rule, row, full_ms)
            if state_of[session] == 3:
                cursor[ACTIVE] -= 1
            else:
                due_of[session] = next_ms
                place = min(max(whole(next_ms, float(TICK_MS)), bucket), bucket + WHEEL - 1) % WHEEL
                link_of[session] = wheel[place]
                wheel[place] = session
        bucket += 1
    cursor[BUCKET] = bucket
