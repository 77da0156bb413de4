"""The timer wheel: a slot for each tick, with the sessions whose event is due in it as a linked list."""

from cdn_sim.compiling import Array, inlined, whole
from cdn_sim.engine.state import TICK_MS, WHEEL


@inlined
def schedule(session: int, at_ms: float, tick: int, wheel: Array, link_of: Array) -> None:
    """Put a session into the slot of its event; events beyond the wheel go into its last slot.

    Args:
        session: The session.
        at_ms: Time of its event; a time that has passed means now.
        tick: Current tick.
        wheel: First session of each slot, or -1.
        link_of: Next session in the same slot, or -1.
    """
    place = min(max(whole(at_ms, float(TICK_MS)), tick), tick + WHEEL - 1) % WHEEL
    link_of[session] = wheel[place]
    wheel[place] = session
