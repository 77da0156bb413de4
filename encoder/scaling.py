"""The scaling cascade: which intermediate picture each size is scaled from; depends on sizes only.

A master is halved again and again; each target is scaled once, from the smallest half that is not smaller than it.
Halves are shared by all sizes of a task, so that this costs about as much as scaling each size from the next larger
one, but a rendition's bytes don't depend on which other sizes its task makes.
"""

SMALLEST_PX = 64
"""Halving ends here: no rendition is smaller."""

Size = tuple[int, int]
"""Width and height in pixels."""


def halvings(master: Size) -> tuple[Size, ...]:
    """The master's size, and its halves down to the smallest of use; sides stay even, for 4:2:0.

    A side that is no multiple of four is rounded. The whole picture is scaled to the whole of its half, so that nothing
    is cut off or moved.
    """
    sizes = [master]
    while min(half := (_half(sizes[-1][0]), _half(sizes[-1][1]))) >= SMALLEST_PX:
        sizes.append(half)
    return tuple(sizes)


def start_of(master: Size, target: Size) -> Size:
    """The size from which a target is scaled: the smallest half that is not smaller, or else the master."""
    large = [half for half in halvings(master) if half[0] >= target[0] and half[1] >= target[1]]
    return large[-1] if large else master


def _half(side_px: int) -> int:
    return 2 * round(side_px / 4)
