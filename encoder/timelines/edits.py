"""Reject edit lists that FFmpeg does not support.

FFmpeg supports a delay before a track and one segment of it. With several segments it shows too much of each, and it
ignores pauses between them and other playback rates.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from encoder.sample_tables import Edit
from headend.core.errors import MasterError
from headend.core.media import Master

_SAME_S = Fraction(1, 1000)
"""Edits closer together in the media count as one, since durations are rounded to ticks of the film."""


def check(master: Master, stream: int, edits: Sequence[Edit]) -> None:
    """Reject an edit list that FFmpeg does not support.

    Args:
        master: Named in the error.
        stream: Number of the stream in the container.
        edits: Its edit list.

    Raises:
        MasterError: It has more than a delay and one segment; the message names the edit and its time.
    """
    for what in _unknown(edits):
        raise MasterError(
            f"{master.url}: the edit list of stream {stream} has {what}, which can't be carried out; deliver the film "
            "without edits, such as exported again"
        )


def _unknown(edits: Sequence[Edit]) -> Iterator[str]:
    at_s = Fraction(0)
    end_s: Fraction | None = None
    for number, edit in enumerate(edits):
        place = f"at {float(at_s):.3f} s"
        if edit.media_s is None:
            # Before all others, an empty edit is a delay.
            if end_s is not None and edit.duration_s:
                yield f"an empty edit of {float(edit.duration_s):.3f} s {place}"
        elif edit.rate == 0:
            yield f"a dwell of {float(edit.duration_s):.3f} s {place}"
        elif edit.rate != 1:
            yield f"a stretch at {float(edit.rate):g} times the speed {place}"
        elif end_s is not None and abs(edit.media_s - end_s) > _SAME_S:
            yield f"a second stretch {place} (edit {number + 1} of {len(edits)})"
        if edit.media_s is not None:
            end_s = edit.media_s + edit.duration_s
        at_s += edit.duration_s
