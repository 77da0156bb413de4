"""Reject edit lists that FFmpeg does not support.

FFmpeg supports a delay before a track, and then one part of the track. With several parts, it shows too much of each.
It ignores pauses between parts, and playback rates other than 1.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from encoder.sample_tables import Edit
from headend.core.errors import MasterError
from headend.core.media import Master

_SAME_S = Fraction(1, 1000)
"""Two edits whose media are less than this apart count as one, since durations are rounded to ticks of the film."""


def check(master: Master, stream: int, edits: Sequence[Edit]) -> None:
    """Reject an edit list that FFmpeg does not support.

    Args:
        master: Named in the error.
        stream: Number of the stream in the container.
        edits: Its edit list.

    Raises:
        MasterError: It has more than a delay and one part; the message names the edit and its time.
    """
    if problem := next(_unsupported(edits), None):
        raise MasterError(
            f"{master.url}: the edit list of stream {stream} has {problem}, which is not supported; "
            "export the film again, without edits"
        )


def _unsupported(edits: Sequence[Edit]) -> Iterator[str]:
    at_s = Fraction(0)
    end_s: Fraction | None = None
    for number, edit in enumerate(edits):
        time = f"at {float(at_s):.3f} s"
        if edit.media_s is None:
            # An empty edit before all others is a delay.
            if end_s is not None and edit.duration_s:
                yield f"an empty edit of {float(edit.duration_s):.3f} s {time}"
        elif edit.rate == 0:
            yield f"a held frame of {float(edit.duration_s):.3f} s {time}"
        elif edit.rate != 1:
            yield f"a part at {float(edit.rate):g} times the speed {time}"
        elif end_s is not None and abs(edit.media_s - end_s) > _SAME_S:
            yield f"a second part {time} (edit {number + 1} of {len(edits)})"
        if edit.media_s is not None:
            end_s = edit.media_s + edit.duration_s
        at_s += edit.duration_s
