"""Adds a day's sessions to those that are still playing."""

from collections.abc import Sequence

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.engine.state import PLAYING, STARTING, TICK_MS, WHEEL, Viewers
from cdn_sim.model import Player
from cdn_sim.players.state import LAST, fresh
from cdn_sim.viewing import Sessions


def waiting(arrivals: Sessions, bases: Array, players: Sequence[Player], rungs: Array) -> Viewers:
    """The state of sessions that have not started.

    Args:
        arrivals: The sessions.
        bases: First object of each title's current version.
        players: The scenario's players.
        rungs: Number of rungs by device.
    """
    count = len(arrivals.start_ms)
    player = fresh(count, with_mpc=any(device.rule == "robust-mpc" for device in players))
    if any(device.rule == "fixed" for device in players):
        chosen = np.minimum(arrivals.quality, rungs[arrivals.device] - 1)
        player[:, LAST] = np.where(arrivals.rule == 0, chosen, 0)
    return Viewers(
        start_ms=arrivals.start_ms,
        title=arrivals.title,
        base=bases[arrivals.title],
        segment=np.zeros(count, dtype=np.int64),
        left=arrivals.left.astype(np.int64),
        device=arrivals.device,
        rule=arrivals.rule,
        most_ms=arrivals.most_ms,
        kbps=arrivals.kbps,
        rtt_ms=arrivals.rtt_ms,
        access=arrivals.access,
        offset=arrivals.offset,
        draw=arrivals.draw,
        state=np.zeros(count, dtype=np.int8),
        player=player,
        buffer_ms=np.zeros(count),
        due_ms=arrivals.start_ms.copy(),
        link=np.full(count, -1, dtype=np.int64),
        pending=np.full(count, -1, dtype=np.int8),
        edge=np.full(count, -1, dtype=np.int64),
        steer_ms=np.zeros(count),
        retries=np.zeros(count, dtype=np.int64),
        last=np.full(count, -1, dtype=np.int64),
    )


def append(viewers: Viewers | None, new: Viewers) -> tuple[Viewers, int]:
    """Put new sessions after those that are still playing, and drop those that have ended.

    Returns:
        The sessions, and how many of them are still playing.
    """
    if viewers is None:
        return new, 0
    playing = np.nonzero((viewers.state == STARTING) | (viewers.state == PLAYING))[0]
    joined = Viewers(*(np.concatenate([old[playing], now]) for old, now in zip(viewers, new, strict=True)))
    return joined, len(playing)


def put_on_wheel(wheel: Array, viewers: Viewers, playing: int, tick: int) -> None:
    """Replace the timer wheel's events by those of the sessions that are still playing, the first ones.

    Args:
        wheel: The timer wheel.
        viewers: The sessions.
        playing: Number of sessions that are still playing.
        tick: Current tick.
    """
    wheel[:] = -1
    for number in range(playing - 1, -1, -1):
        due = min(max(int(viewers.due_ms[number] // TICK_MS), tick), tick + WHEEL - 1)
        viewers.link[number] = wheel[due % WHEEL]
        wheel[due % WHEEL] = number
