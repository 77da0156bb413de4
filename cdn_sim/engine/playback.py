"""Updates a session when a request has ended: its buffer, stalls, retries, seeks and end."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.engine.chance import chance
from cdn_sim.engine.state import OVER, PLAYING, STARTING, Download, Now, Rules, Titles, Viewers
from cdn_sim.outcomes import CHANGE_KBPS, ENDED, GAVE_UP, KBPS, SEGMENTS, STALL_MS, STALLS, START_MS
from cdn_sim.players.choosing import downloaded, waited
from cdn_sim.players.state import Setup, reset

RETRY_MS = 2_000.0
"""Pause of a player after a failed request."""
MAX_RETRIES = 30
"""A viewer gives up after this many consecutive failed requests."""


@inlined
def setup_of(session: int, titles: Titles, viewers: Viewers) -> Setup:
    """The ladder and the buffer of a session's player."""
    device = viewers.device[session]
    return Setup(
        titles.rates[device],
        titles.utilities[device],
        titles.counts[device],
        titles.segment_ms,
        viewers.most_ms[session],
    )


@inlined
def drain(session: int, now: Now, finish_ms: float, failed: bool, viewers: Viewers, experience: Array) -> None:
    """Play from the buffer while a request runs: playback starts at the first segment, and stalls without a buffer."""
    took_ms = finish_ms - now.ms
    if viewers.state[session] == STARTING:
        if not failed:
            viewers.state[session] = PLAYING
            experience[now.hour, START_MS] += finish_ms - viewers.start_ms[session]
    elif took_ms > viewers.buffer_ms[session]:
        experience[now.hour, STALL_MS] += took_ms - viewers.buffer_ms[session]
        if viewers.buffer_ms[session] > 0.0:
            experience[now.hour, STALLS] += 1
        viewers.buffer_ms[session] = 0.0
    else:
        viewers.buffer_ms[session] -= took_ms


@inlined
def fail(session: int, now: Now, viewers: Viewers, experience: Array) -> float:
    """Retry after a failed request, in the lowest quality, after choosing an edge again; returns when, in ms."""
    viewers.retries[session] += 1
    viewers.pending[session] = 0
    viewers.edge[session] = -1
    next_ms = now.ms + RETRY_MS
    drain(session, now, next_ms, True, viewers, experience)
    if viewers.retries[session] > MAX_RETRIES:
        experience[now.hour, GAVE_UP] += 1
        viewers.state[session] = OVER
    return next_ms


@inlined
def receive(
    session: int,
    download: Download,
    now: Now,
    titles: Titles,
    viewers: Viewers,
    experience: Array,
    rules: Rules,
) -> float:
    """Append a segment to the buffer; returns when the session requests the next one, in ms.

    Args:
        session: The session.
        download: The segment.
        now: When it was requested.
        titles: The titles.
        viewers: The sessions.
        experience: The viewers' experience.
        rules: The parameters.
    """
    quality, finish_ms = download.quality, download.finish_ms
    drain(session, now, finish_ms, False, viewers, experience)
    device = viewers.device[session]
    segments = titles.segments[viewers.title[session]]
    segment_ms = titles.segment_ms
    next_ms = finish_ms
    viewers.retries[session] = 0
    viewers.buffer_ms[session] += segment_ms
    downloaded(
        viewers.rule[session],
        viewers.player[session],
        quality,
        viewers.buffer_ms[session],
        download.size * 8.0,
        download.latency_ms,
        download.transfer_ms,
        setup_of(session, titles, viewers),
    )
    experience[now.hour, SEGMENTS] += 1
    experience[now.hour, KBPS] += titles.rates[device, quality]
    if viewers.last[session] >= 0:
        experience[now.hour, CHANGE_KBPS] += abs(
            titles.rates[device, quality] - titles.rates[device, viewers.last[session]]
        )
    viewers.last[session] = quality
    viewers.segment[session] += 1
    viewers.left[session] -= 1
    if rules.seeks_per_ms > 0.0:
        seek(session, segments, rules.seeks_per_ms * segment_ms, viewers)
    if viewers.left[session] <= 0 or viewers.segment[session] >= segments:
        viewers.state[session] = OVER
        experience[now.hour, ENDED] += 1
    else:
        full_ms = viewers.buffer_ms[session] + segment_ms - viewers.most_ms[session]
        if full_ms > 0.0:
            viewers.buffer_ms[session] -= full_ms
            next_ms = finish_ms + full_ms
            waited(viewers.rule[session], viewers.player[session], full_ms)
    return next_ms


@inlined
def seek(session: int, segments: int, share: float, viewers: Viewers) -> None:
    """Jump to a random segment with a probability, which empties the buffer."""
    left = viewers.left[session]
    if chance(viewers.draw[session], 2 * left) < share:
        goal = int(chance(viewers.draw[session], 2 * left + 1) * segments)
        viewers.segment[session] = goal
        viewers.buffer_ms[session] = 0.0
        reset(viewers.player[session], goal)
