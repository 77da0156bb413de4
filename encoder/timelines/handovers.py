"""Handovers: streams that end where others of their kind begin, as where a transport stream changes its PIDs.

Each of them is a part of the film. Taken for programmes, they would give a title of half the picture, or programmes of
sound that are silent for the most part.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

from headend.core.errors import MasterError
from headend.core.media import AudioTrack, Master, VideoTrack

_NEAR_S = Fraction(1)
"""How near to the end of the one the other must begin."""
_LEAST_S = Fraction(1)
"""How much of the film must lie on the other side of a handover; sound may begin late and end early by less."""


def check_pictures(master: Master, taken: VideoTrack, others: Sequence[tuple[int, Fraction]]) -> None:
    """Refuse a picture that goes on in another stream.

    Args:
        master: Named in the error.
        taken: The picture.
        others: Numbers of other pictures, and when they begin.

    Raises:
        MasterError: One of them begins where it ends.
    """
    for number, start_s in others:
        if abs(start_s - taken.end_s) < _NEAR_S <= start_s - taken.start_s:
            length_s = float(taken.end_s - taken.start_s)
            raise MasterError(
                f"{master.url}: picture {taken.index} ends at {length_s:.3f} s, where picture {number} begins; "
                "deliver them as one stream, or take one of them with --video"
            )


def check_sound(master: Master, tracks: Sequence[AudioTrack], picture: VideoTrack) -> None:
    """Refuse sound that goes on in another stream.

    Args:
        master: Named in the error.
        tracks: All that it has.
        picture: What they are heard with.

    Raises:
        MasterError: One of them begins where another one ends.
    """
    known = [track for track in tracks if track.channels and track.duration_s]
    for one, other in permutations(known, 2):
        end_s = one.start_s + one.duration_s
        within = picture.start_s + _LEAST_S < end_s < picture.end_s - _LEAST_S
        if within and abs(other.start_s - end_s) < _NEAR_S:
            raise MasterError(
                f"{master.url}: audio {one.index} ends at {float(end_s - picture.start_s):.3f} s, where audio "
                f"{other.index} begins; deliver them as one stream, or pick what is delivered with --audio"
            )
