"""Random numbers of sessions."""

from cdn_sim.compiling import inlined


@inlined
def chance(draw: int, number: int) -> float:
    """A pseudorandom number in [0, 1) that depends only on the arguments, by fast 31-bit arithmetic."""
    mixed = (draw * 1_103_515_245 + number * 40_503 + 12_345) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 73_244_475) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 14)) * 73_244_475) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 15)) / 2147483648.0
