"""The simulation engine: sessions, players, caches and links of one internet provider in one loop.

Time advances in ticks of 100 ms on a timer wheel. An event is "session s requests its next segment": the player chooses
a quality, steering chooses an edge, the edge's policy decides hit or miss, misses go to the shield and the origin, and
the links determine the transfer times. So hits and misses change throughput, and throughput changes later requests.

Links are modelled as fluids: each transfer reserves capacity second by second, at most its fair share. So a link never
exceeds its capacity in any second, and N long flows get 1/N each.
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
"""Ticks on the timer wheel: 27 minutes. Later events are put on it again."""
SLOTS = 256
"""Seconds ahead for which link capacity can be reserved."""
FLOW_TICKS = 1 << 10
"""Maximum length of a flow in ticks; longer flows are cut to it when fair shares are computed."""
CLASSES = 16
"""Rate classes of flows, one per power of two, for computing fair shares."""
BIN_MS = 300_000
"""Length of a traffic bin: five minutes, as in transit billing."""
HOUR_MS = 3_600_000
RETRY_MS = 2_000.0
"""Pause of a player after a failed request."""
MOST_RETRIES = 30
"""A viewer gives up after this many consecutive failed requests."""
START_TRIPS = 3.0
"""Round trips before the first segment: multivariant playlist or MPD, media playlist, init segment."""
LEAST_TRANSFER_MS = 1.0

HIT, DELAYED, CONTENT_MISS, HEALTH_MISS, LATE_FILL, PASSED, FAILED = range(7)
DECISIONS = ("hit", "delayed", "content miss", "health miss", "late fill", "passed", "failed")
"""Results of a request at a cache, by number. All but the first two and the last are misses."""

(SESSIONS, SEGMENTS, STALL_MS, STALLS, START_MS, KBPS, CHANGE_KBPS, GAVE_UP, ENDED) = range(9)
SEEN = ("sessions", "segments", "stall_ms", "stalls", "start_ms", "kbps", "change_kbps", "gave_up", "ended")
"""Columns of the viewers' experience, summed by hour; ``kbps`` is a sum over segments."""

BUCKET, ARRIVAL, ACTIVE, PEAK, RECORDED, RETRIES = range(6)
"""Cursor: next tick, next session to arrive, active sessions, their peak, recorded requests, draws for failures."""


class Titles(NamedTuple):
    """Titles and their objects.

    Attributes:
        sizes: Bytes of each object.
        segments: Segments of each title.
        rates: Bitrates in kbit/s by device and quality.
        utilities: Utilities of these bitrates.
        counts: Number of rungs by device.
        firsts: Rendition number of the first rung, by device.
        segment_ms: Length of a segment.
        sound: Rendition number of sound, or -1 if there is none.
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
    """Sessions and their state, as columns ordered by start.

    Attributes:
        start_ms: Start of the session.
        title: Title.
        base: First object of the title's version that the session plays.
        segment: Next segment.
        left: Segments left to play.
        device: Device, which determines the switching set.
        rule: ABR rule of the player.
        most_ms: Maximum buffer of the player.
        kbps: Access rate before variation.
        rtt_ms: Round trip to the edge.
        access: Access class, which is the row of `Links.factors`.
        offset: Start position in that row.
        draw: The session's random number, the source of all its randomness.
        state: 0 not started, 1 starting, 2 playing, 3 ended.
        player: State of the ABR rule.
        buffer_ms: Buffer level.
        due_ms: Time of the next event.
        link: Next session in the same slot of the wheel.
        pending: Quality chosen but not yet requested, or -1.
        edge: Current edge, or -1.
        steer_ms: When the player steers again.
        retries: Consecutive failed requests.
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
    """State of the caches: the edges, then the shield.

    Attributes:
        policy: Policy number of each cache.
        room: Bytes of each cache's reactive part.
        largest: Maximum object size that each cache stores.
        up: Whether each cache is up.
        nodes: Rows of each cache's objects; the spare column is the object's arrival time in ms.
        totals: Totals of each cache.
        heap: As in `cdn_sim.kernels.state.State`.
        worth: As in `cdn_sim.kernels.state.State`.
        clocks: As in `cdn_sim.kernels.state.State`.
        planned_ms: Arrival time of planned renditions, by edge, title and rendition; `NEVER` if not planned.
        order: Ranked edges of each title.
        replicas: Number of first edges that share each title's viewers.
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
    """State of the links: edges to viewers, then transit (shield to edges), then origin to shield.

    Attributes:
        capacity: Bytes per ms.
        free: Capacity without fill in the current tick.
        load: Reserved share of each edge's link in the current second.
        rtt_ms: Round trip of each link.
        fill: Bytes per ms of proactive fill, by link and bin.
        carried: Reserved bytes by link and second, as a ring.
        active: Number of flows by link and class.
        wanted: Sum of these flows' maximum rates, by link and class.
        ending: Number of flows that end, by link, tick (a ring) and class.
        ending_wanted: Sum of their maximum rates.
        share: Fair share by link, in bytes per ms.
        factors: Variation of access rates, by class and two seconds.
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
    """Counters.

    Attributes:
        requests: Requests by cache, decision and hour.
        sent: Bytes sent by cache, decision and hour.
        traffic: Bytes by link and bin of five minutes, without fill.
        seen: Viewers' experience by hour; see `SEEN`.
        views: Segments sent by title and rendition since the last reset.
        tail: Bytes by link that did not fit within `SLOTS` seconds.
        away: Bytes sent from the shield directly to viewers because no edge was up.
        recorded: Object and hit of the first requests at edge 0, as far as there are rows.
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
    """Parameters, which events may change between calls of `advance`.

    Attributes:
        seeks_per_ms: Rate of seeks of a viewer.
        fetch_rate: Maximum rate of one fetch by an edge, in bytes per ms.
        origin_extra_ms: Extra latency of the origin.
        origin_fails: Share of the origin's responses that are errors.
        steer_every_ms: Time between steering decisions of a viewer.
    """

    seeks_per_ms: float
    fetch_rate: float
    origin_extra_ms: float
    origin_fails: float
    steer_every_ms: float


@inlined
def chance(draw: int, number: int) -> float:
    """A pseudorandom number in [0, 1) that depends only on the arguments, by fast 31-bit arithmetic."""
    mixed = (draw * 1_103_515_245 + number * 40_503 + 12_345) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 73_244_475) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 14)) * 73_244_475) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 15)) / 2147483648.0


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
    """Count a flow as active on a link until its end."""
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
    """Advance the simulation; changes everything but ``titles`` and ``rules`` in place.

    Args:
        until_ms: End time, a whole number of ticks.
        cursor: Position in time and arrivals; see `BUCKET`.
        wheel: First session of each slot, or -1.
        titles: The titles.
        viewers: The sessions.
        caches: The caches.
        links: The links.
        counts: The counters.
        rules: The parameters.
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
                # Not due yet: put it on the wheel again.
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
                    # Choose the edge.
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
                            # Fetch from the shield, or from the origin through it.
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
                        counted_at = chosen if chosen >= 0 else order[title, 0]
                        requests[counted_at, decision, hour] += 1
                        if failed:
                            break
                        sent[counted_at, decision, hour] += size
                        views[title, rendition] += 1
                        if chosen == 0 and cursor[RECORDED] < len(recorded):
                            recorded[cursor[RECORDED], 0] = number
                            recorded[cursor[RECORDED], 1] = stored_hit
                            cursor[RECORDED] += 1
                        # Send it to the viewer: sound follows the picture on the same connection.
                        begin_ms = finish_ms if part else now_ms + wait_ms
                        if chosen >= 0:
                            send_rate = min(rate, max(share[chosen], 1e-6))
                            end_ms = reserve(chosen, begin_ms, size, send_rate, free[chosen], carried, traffic, tail)
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
