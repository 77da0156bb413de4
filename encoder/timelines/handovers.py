"""Handovers: streams that end where another one of their kind begins, such as when a transport stream changes its PIDs.

Each stream is a part of the film. If each were encoded as a programme of its own, the title would have half the
picture, or programmes of sound that are mostly silent.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

from headend.core.errors import MasterError
from headend.core.media import AudioTrack, Master, VideoTrack

_NEAR_S = Fraction(1)
"""Largest distance between the end of a stream and the start of the next."""
_LEAST_S = Fraction(1)
"""Shortest part of the film before and after a handover; sound may begin late and end early by less than this."""


def check_pictures(master: Master, taken: VideoTrack, others: Sequence[tuple[int, Fraction]]) -> None:
    """Refuse a picture that continues in another stream.

    Args:
        master: Named in the error.
        taken: The picture.
        others: Numbers of other pictures, and their start times.

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
    """Refuse sound that continues in another stream.

    Args:
        master: Named in the error.
        tracks: All of its tracks of sound.
        picture: The picture that they accompany.

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
