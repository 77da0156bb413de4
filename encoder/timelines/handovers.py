"""Reject handovers: streams that continue in another stream, for example because a transport stream changes its PIDs.

Each of the streams is a part of the film. If only one picture were encoded, a part of the film would be missing; if
each sound became a programme, these would be silent most of the time.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

from headend.core.errors import MasterError
from headend.core.media import AudioTrack, Master, VideoTrack

_MAX_DISTANCE_S = Fraction(1)
"""Maximum distance between the end of a stream and the start of the next."""
_MIN_PART_S = Fraction(1)
"""Minimum duration of the film before and after a handover: sound may start late and end early by less than this."""


def check_pictures(master: Master, picture: VideoTrack, others: Sequence[tuple[int, Fraction]]) -> None:
    """Reject a picture that continues in another stream.

    Args:
        master: Named in the error.
        picture: The picture.
        others: Numbers of the other pictures, and their start times.

    Raises:
        MasterError: One of the others starts where the picture ends.
    """
    for number, start_s in others:
        if abs(start_s - picture.end_s) < _MAX_DISTANCE_S <= start_s - picture.start_s:
            length_s = float(picture.end_s - picture.start_s)
            raise MasterError(
                f"{master.url}: picture {picture.index} ends at {length_s:.3f} s, where picture {number} begins; "
                "deliver them as one stream, or take one of them with --video"
            )


def check_sound(master: Master, tracks: Sequence[AudioTrack], picture: VideoTrack) -> None:
    """Reject sound that continues in another stream.

    Args:
        master: Named in the error.
        tracks: All of its tracks of sound.
        picture: The picture that they accompany.

    Raises:
        MasterError: A track starts where another one ends.
    """
    known = [track for track in tracks if track.channels and track.duration_s]
    for one, other in permutations(known, 2):
        end_s = one.start_s + one.duration_s
        is_inside = picture.start_s + _MIN_PART_S < end_s < picture.end_s - _MIN_PART_S
        if is_inside and abs(other.start_s - end_s) < _MAX_DISTANCE_S:
            raise MasterError(
                f"{master.url}: audio {one.index} ends at {float(end_s - picture.start_s):.3f} s, where audio "
                f"{other.index} begins; deliver them as one stream, or pick what is delivered with --audio"
            )
