"""The loop over time: sessions start, choose a quality and an edge, and request segments.

Time advances in ticks of 100 ms on a timer wheel. An event is "session s requests its next segment": the player chooses
a quality, steering chooses an edge, the edge's policy decides hit or miss, misses go to the shield and the origin, and
the links determine the transfer times. So hits and misses change throughput, and throughput changes later requests.
"""

from cdn_sim import steering
from cdn_sim.compiling import Array, compiled, inlined, whole
from cdn_sim.engine.fetching import fetch
from cdn_sim.engine.links import begin_tick, transfer
from cdn_sim.engine.playback import fail, receive, setup_of
from cdn_sim.engine.state import (
    ACTIVE,
    ARRIVAL,
    BUCKET,
    OVER,
    PEAK,
    RATE_STEP_MS,
    RECORDED,
    SLOTS,
    STARTING,
    TICK_MS,
    TICKS_PER_SECOND,
    WAITING,
    WHEEL,
    Caches,
    Counts,
    Download,
    Links,
    Now,
    ObjectRequest,
    Rules,
    Titles,
    Viewers,
)
from cdn_sim.engine.wheel import schedule
from cdn_sim.outcomes import DELAYED, FAILED, SESSIONS
from cdn_sim.players.choosing import choose

pick = inlined(steering.pick)

HOUR_MS = 3_600_000
START_TRIPS = 3.0
"""Round trips before the first segment: multivariant playlist or MPD, media playlist, init segment."""
MIN_TRANSFER_MS = 1.0


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
        cursor: Position in time and arrivals; see `cdn_sim.engine.state.BUCKET`.
        wheel: First session of each slot, or -1.
        titles: The titles.
        viewers: The sessions.
        caches: The caches.
        links: The links.
        counts: The counters.
        rules: The parameters.
    """
    sessions = len(viewers.start_ms)
    hours = counts.requests.shape[2]
    tick = cursor[BUCKET]
    end = whole(until_ms, float(TICK_MS))
    while tick < end:
        tick_ms = tick * float(TICK_MS)
        hour = min(whole(tick_ms, float(HOUR_MS)), hours - 1)
        here = tick % WHEEL
        begin_tick(tick, links)
        while cursor[ARRIVAL] < sessions and viewers.start_ms[cursor[ARRIVAL]] < tick_ms + TICK_MS:
            arriving = cursor[ARRIVAL]
            cursor[ARRIVAL] += 1
            if viewers.state[arriving] == WAITING:
                viewers.due_ms[arriving] = max(viewers.start_ms[arriving], tick_ms)
                viewers.link[arriving] = wheel[here]
                wheel[here] = arriving
        while wheel[here] >= 0:
            session = wheel[here]
            wheel[here] = viewers.link[session]
            now_ms = viewers.due_ms[session]
            if now_ms >= tick_ms + TICK_MS:  # not due yet
                schedule(session, now_ms, tick, wheel, viewers.link)
                continue
            if viewers.state[session] == WAITING:
                viewers.state[session] = STARTING
                counts.experience[hour, SESSIONS] += 1
                cursor[ACTIVE] += 1
                cursor[PEAK] = max(cursor[PEAK], cursor[ACTIVE])
                next_ms = now_ms + START_TRIPS * viewers.rtt_ms[session]
            else:
                next_ms = play(session, Now(now_ms, tick, hour), cursor, titles, viewers, caches, links, counts, rules)
            if viewers.state[session] == OVER:
                cursor[ACTIVE] -= 1
            else:
                viewers.due_ms[session] = next_ms
                schedule(session, next_ms, tick, wheel, viewers.link)
        tick += 1
    cursor[BUCKET] = tick


@inlined
def play(
    session: int,
    now: Now,
    cursor: Array,
    titles: Titles,
    viewers: Viewers,
    caches: Caches,
    links: Links,
    counts: Counts,
    rules: Rules,
) -> float:
    """Choose the quality of a session's next segment and request it; returns the time of its next event, in ms."""
    quality, delay_ms = choose_quality(session, titles, viewers)
    if delay_ms > 0.0:
        viewers.pending[session] = quality
        viewers.buffer_ms[session] = max(0.0, viewers.buffer_ms[session] - delay_ms)
        next_ms = now.ms + delay_ms
    else:
        next_ms = request(session, quality, now, cursor, titles, viewers, caches, links, counts, rules)
    return next_ms


@inlined
def choose_quality(session: int, titles: Titles, viewers: Viewers) -> tuple[int, float]:
    """The quality of the next segment, and how long to wait before requesting it, in ms."""
    delay_ms = 0.0
    if viewers.pending[session] >= 0:
        quality = int(viewers.pending[session])
        viewers.pending[session] = -1
    else:
        quality, delay_ms = choose(
            viewers.rule[session],
            viewers.player[session],
            viewers.buffer_ms[session],
            viewers.segment[session],
            titles.segments[viewers.title[session]],
            setup_of(session, titles, viewers),
        )
    return quality, delay_ms


@inlined
def steer(session: int, now: Now, viewers: Viewers, caches: Caches, links: Links, every_ms: float) -> tuple[int, bool]:
    """The session's edge (-1 if none is up), and whether it is none of those that hold the title."""
    title = viewers.title[session]
    for edge in range(caches.order.shape[1]):
        carried = links.carried[edge, (now.tick // TICKS_PER_SECOND) % SLOTS]
        links.load[edge] = carried / max(1.0, links.free[edge] * 1000.0)
    current = viewers.edge[session]
    if now.ms >= viewers.steer_ms[session]:
        current = -1
    chosen, diverted = pick(
        caches.order[title], caches.replicas[title], viewers.draw[session], caches.up, links.load, current
    )
    if chosen != current:
        viewers.edge[session] = chosen
        viewers.steer_ms[session] = now.ms + every_ms
    return chosen, diverted


@inlined
def request(
    session: int,
    quality: int,
    now: Now,
    cursor: Array,
    titles: Titles,
    viewers: Viewers,
    caches: Caches,
    links: Links,
    counts: Counts,
    rules: Rules,
) -> float:
    """Request a segment's picture and its sound; returns the time of the session's next event, in ms."""
    title, device = viewers.title[session], viewers.device[session]
    edge, diverted = steer(session, now, viewers, caches, links, rules.steer_every_ms)
    step = (whole(now.ms, RATE_STEP_MS) + viewers.offset[session]) % links.factors.shape[1]
    rate = max(1e-3, viewers.kbps[session] / 8.0 * links.factors[viewers.access[session], step])
    finish_ms, latency_ms, transfer_ms, picture_size = now.ms, 0.0, 0.0, 0.0
    failed = False
    for part in range(2 if titles.sound >= 0 else 1):
        rendition = titles.firsts[device] + quality if part == 0 else titles.sound
        number = viewers.base[session] + rendition * titles.segments[title] + viewers.segment[session]
        size = float(titles.sizes[number])
        wanted = ObjectRequest(edge, diverted, title, rendition, number, viewers.draw[session], viewers.rtt_ms[session])
        decision, wait_ms, ready_ms = fetch(wanted, now, cursor, titles.sizes, caches, links, counts, rules)
        counted_at = edge if edge >= 0 else caches.order[title, 0]
        counts.requests[counted_at, decision, now.hour] += 1
        failed = decision == FAILED
        if failed:
            break
        counts.sent[counted_at, decision, now.hour] += size
        counts.views[title, rendition] += 1
        if edge == 0 and cursor[RECORDED] < len(counts.recorded):
            counts.recorded[cursor[RECORDED], 0] = number
            counts.recorded[cursor[RECORDED], 1] = decision <= DELAYED
            cursor[RECORDED] += 1
        # Sound follows the picture on the same connection.
        begin_ms = finish_ms if part else now.ms + wait_ms
        if edge >= 0:
            end_ms = transfer(edge, begin_ms, size, rate, now.tick, links, counts)
        else:
            end_ms = begin_ms + size / rate
            counts.away[0] += size
        finish_ms = max(end_ms, ready_ms)
        if part == 0:
            latency_ms = wait_ms
            transfer_ms = max(MIN_TRANSFER_MS, finish_ms - now.ms - wait_ms)
            picture_size = size
    if failed:
        next_ms = fail(session, now, viewers, counts.experience)
    else:
        download = Download(quality, picture_size, latency_ms, transfer_ms, finish_ms)
        next_ms = receive(session, download, now, titles, viewers, counts.experience, rules)
    return next_ms
