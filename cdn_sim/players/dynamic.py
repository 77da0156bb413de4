"""Dynamic, the default rule of dash.js: it switches between the throughput rule and BOLA by buffer level.

It changes to BOLA when the buffer is above `LOW_MS` and BOLA chooses at least the throughput rule's quality, and back
when the buffer is below `LOW_MS` and BOLA chooses a lower one.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.bola import bola
from cdn_sim.players.state import BOLA, MODE, Setup
from cdn_sim.players.throughput import throughput

LOW_MS = 10_000.0
"""Buffer level between the two rules."""


@inlined
def dynamic(row: Array, buffer_ms: float, segment: int, segments: int, setup: Setup) -> int:
    """Choose the next segment's quality; for the arguments, see `cdn_sim.players.choosing.choose`."""
    by_buffer, _ = bola(BOLA, row, buffer_ms, segment, segments, setup)
    by_throughput = throughput(row, buffer_ms, setup)
    if row[MODE] == 1.0:
        if buffer_ms < LOW_MS and by_buffer < by_throughput:
            row[MODE] = 0.0
    elif buffer_ms > LOW_MS and by_buffer >= by_throughput:
        row[MODE] = 1.0
    return by_buffer if row[MODE] == 1.0 else by_throughput
