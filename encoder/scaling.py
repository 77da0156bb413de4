"""The sizes of the scaling cascade: from which intermediate picture each size is scaled.

A master is halved repeatedly. Each target is scaled once, from the smallest half that is not smaller than the target.
All sizes of a task share the halves. That costs about as much as scaling each size from the next larger one, but a
rendition's bytes don't depend on the other sizes in its task.
"""

MIN_SIDE_PX = 64
"""Minimum side of a half; no rendition is smaller."""

Size = tuple[int, int]
"""Width and height in pixels."""


def halvings(master: Size) -> tuple[Size, ...]:
    """The master's size and its halves, in descending order; sides stay even, for 4:2:0.

    If a side is not a multiple of four, its half is rounded. The whole picture is scaled to the whole half, so nothing
    is cut off or shifted.
    """
    sizes = [master]
    while min(half := (_half(sizes[-1][0]), _half(sizes[-1][1]))) >= MIN_SIDE_PX:
        sizes.append(half)
    return tuple(sizes)


def start_of(master: Size, target: Size) -> Size:
    """The size from which a target is scaled: the smallest half that is not smaller, or the master if none is."""
    large = [half for half in halvings(master) if half[0] >= target[0] and half[1] >= target[1]]
    return large[-1] if large else master


def _half(side_px: int) -> int:
    return 2 * round(side_px / 4)
