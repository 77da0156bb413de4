"""Compare a release with its master: whether picture and sound at a time are those of the master at that time.

The only input from the plan is the start of the film. Pictures are compared as small grey ones, sound by its loudness;
both survive scaling, tone mapping, mixing and coding. Places without motion or sound are inconclusive.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame

from encoder.probing import SOUND_CONTAINERS, forget_order, opened
from headend.core.media import Master

AROUND_S = Fraction(4)
"""How far around its time a picture or a sound is searched."""
SOUND_OFF_S = Fraction(1, 20)
"""Tolerance for sound: little more than a frame of the picture or of a codec."""
PICTURE_OFF_FRAMES = Fraction(3, 2)
"""Tolerance for pictures, in frames of the master: fields and uneven times make up to one."""
_BIN_HZ = 200
_THUMB_PX = (48, 27)
_SURE, _CLEARLY = 0.9, 0.02
"""Minimum correlation of equal pictures or sounds, and how much lower it must be at the expected time."""
_FLAT = 0.05
"""Sound whose level varies less than this, relative to its mean, is inconclusive."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of a rendition, as a file that a decoder can open.

    Attributes:
        path: The file: an init segment and a media segment.
        stream: Number of the master's stream from which it was made.
    """

    path: Path
    stream: int


def of_sound(master: Master, input_url: str, piece: Piece, zero_s: Fraction) -> str:
    """Compare a segment of sound with the master.

    Args:
        master: The file; named in errors.
        input_url: Where to read it.
        piece: The segment.
        zero_s: When the master shows its first frame.

    Returns:
        What is wrong; empty if nothing is.

    Raises:
        MasterError: The master can't be read.
    """
    with av.open(str(piece.path)) as container:
        first_s, made = _loudness(container, 0, None)
    if len(made) < _BIN_HZ // 2 or made.std() <= _FLAT * max(made.mean(), 1e-4):
        return ""
    from_s = first_s + zero_s - AROUND_S
    with opened(master, input_url, SOUND_CONTAINERS) as container:
        _seek(container, piece.stream, from_s - 1)
        end_s = from_s + 2 * AROUND_S + Fraction(len(made), _BIN_HZ)
        start_s, meant = _loudness(container, piece.stream, end_s)
    if not len(meant):
        return f"it has sound at {float(first_s):.3f} s, the master has none"
    # The master's loudness in the bins of the segment and around it.
    around = round(AROUND_S * _BIN_HZ)
    wide = np.zeros(len(made) + 2 * around)
    offset = round((start_s - from_s) * _BIN_HZ)
    low, high = max(0, offset), min(len(wide), offset + len(meant))
    wide[low:high] = meant[low - offset : high - offset]
    alike = np.array([_alike(made, wide[at : at + len(made)]) for at in range(2 * around + 1)])
    best = int(alike.argmax())
    off_s = Fraction(best - around, _BIN_HZ)
    expected = alike[around - 2 : around + 3].max()
    if alike[best] < _SURE or abs(off_s) <= SOUND_OFF_S or alike[best] - expected < 5 * _CLEARLY:
        return ""
    # Repetitive sound also matches elsewhere, but not much better.
    allowed = round(SOUND_OFF_S * _BIN_HZ)
    if alike[best] - alike[around - allowed : around + allowed + 1].max() < _CLEARLY:
        return ""
    how = "early" if off_s > 0 else "late"
    return f"its sound at {float(first_s):.3f} s is {abs(float(off_s)):.3f} s {how} against the master's times"


def of_picture(master: Master, input_url: str, piece: Piece, zero_s: Fraction) -> str:
    """Compare a segment of picture by its first, middle and last frame; arguments and result as for `of_sound`."""
    with av.open(str(piece.path)) as container:
        made = [(_time_s(frame), _thumb(frame)) for frame in container.decode(video=0)]
    if not made:
        return ""
    chosen = [made[number] for number in sorted({0, len(made) // 2, len(made) - 1})]
    meant: list[tuple[Fraction, Numbers]] = []
    first_s, last_s = chosen[0][0] + zero_s - AROUND_S, chosen[-1][0] + zero_s + AROUND_S
    with opened(master, input_url) as container:
        stream = container.streams[piece.stream]
        _seek(container, piece.stream, first_s - AROUND_S)
        held: VideoFrame | None = None
        for frame in _decoded(container, stream):
            if isinstance(frame, VideoFrame) and (at_s := _shown_s(frame, stream)) is not None:
                if at_s > last_s:
                    break
                if at_s >= first_s:
                    meant.append((at_s, _thumb(frame)))
                else:
                    held = frame
        if held is not None:
            # The picture before is still shown at the start.
            meant.insert(0, (first_s, _thumb(held)))
    if not meant:
        return f"it shows something at {float(chosen[0][0]):.3f} s, the master shows nothing"
    meant.sort(key=lambda one: one[0])
    steps = sorted(after[0] - here[0] for here, after in pairwise(meant))
    allowed_s = PICTURE_OFF_FRAMES * max(steps[len(steps) // 2] if steps else 0, Fraction(1, 100))
    for at_s, thumb in chosen:
        near = [(time_s, _alike(thumb, other)) for time_s, other in meant if abs(time_s - zero_s - at_s) <= AROUND_S]
        # The frame that is shown at this time: the last one that starts before.
        shown = [likeness for time_s, likeness in near if time_s - zero_s <= at_s + allowed_s][-1:]
        expected = max(
            (likeness for time_s, likeness in near if abs(time_s - zero_s - at_s) <= allowed_s),
            default=shown[0] if shown else -1.0,
        )
        expected = max(expected, *shown) if shown else expected
        if not near:
            continue
        best_s, best = max(near, key=lambda one: one[1])
        if best >= _SURE and best - expected > _CLEARLY:
            return f"its picture at {float(at_s):.3f} s is what the master shows at {float(best_s - zero_s):.3f} s"
    return ""


def first_frame_s(master: Master, input_url: str, stream: int) -> Fraction:
    """When a master shows its first frame, found by decoding it.

    Raises:
        MasterError: The master can't be read.
    """
    with opened(master, input_url) as container:
        picture = container.streams[stream]
        for frame in _decoded(container, picture):
            if isinstance(frame, VideoFrame) and (at_s := _shown_s(frame, picture)) is not None:
                return at_s
    return Fraction(0)


def places(count: int, wanted: int, special: Sequence[int] = ()) -> list[int]:
    """Numbers of segments to compare, from 1: evenly spaced ones, and ``special`` ones."""
    even = {1 + (count - 1) * number // max(1, wanted - 1) for number in range(wanted)}
    return sorted({number for number in (*even, *special) if 1 <= number <= count})


def _seek(container: InputContainer, stream: int, at_s: Fraction) -> None:
    if at_s <= 0:
        return
    chosen = container.streams[stream]
    container.seek(int(at_s / (chosen.time_base or Fraction(1))), stream=chosen)


def _shown_s(frame: VideoFrame, stream: Stream) -> Fraction | None:
    """When a frame is shown; None if that is not known.

    Some containers state presentation times for some frames only, such as MPEG-PS. For the others, FFmpeg derives the
    time from the order in which frames leave the decoder, and so do the commands that encode.
    """
    ticks = frame.pts if frame.pts is not None else frame.dts
    return None if ticks is None else Fraction(ticks * (stream.time_base or Fraction(1)))


def _decoded(container: InputContainer, stream: Stream) -> Iterator[Any]:
    """Frames of a stream; skips packets that can't be decoded, such as incomplete ones after a seek."""
    for packet in container.demux(stream):
        with suppress(av.FFmpegError):
            yield from packet.decode()


def _loudness(container: InputContainer, stream: int, end_s: Fraction | None) -> tuple[Fraction, Numbers]:
    """Start of the first bin, and the mean level of all channels in bins of `_BIN_HZ`."""
    chosen = container.streams[stream] if end_s is not None else container.streams.audio[0]
    bins: dict[int, float] = {}
    for at_s, values in _levels(container, chosen, end_s):
        for number, value in enumerate(values):
            place = int(at_s * _BIN_HZ) + number
            bins[place] = max(bins.get(place, 0.0), value)
    if not bins:
        return Fraction(0), np.zeros(0)
    first, last = min(bins), max(bins)
    return Fraction(first, _BIN_HZ), np.array([bins.get(place, 0.0) for place in range(first, last + 1)])


def _levels(container: InputContainer, stream: Stream, end_s: Fraction | None) -> Iterator[tuple[Fraction, Numbers]]:
    """Time of each decoded frame, and its levels in bins."""
    resampler: av.AudioResampler | None = None
    if isinstance(stream, AudioStream):
        forget_order(stream)
    for frame in _decoded(container, stream):
        if not isinstance(frame, AudioFrame) or frame.pts is None or frame.time_base is None:
            continue
        at_s = frame.pts * frame.time_base
        if end_s is not None and at_s > end_s:
            return
        resampler = resampler or av.AudioResampler(format="fltp")
        samples = np.concatenate([part.to_ndarray() for part in resampler.resample(frame)], axis=1)
        size = max(1, frame.sample_rate // _BIN_HZ)
        level = np.abs(samples).mean(axis=0)
        count = -(-len(level) // size)
        padded = np.pad(level, (0, count * size - len(level)), mode="edge")
        yield at_s, padded.reshape(count, size).mean(axis=1)


def _thumb(frame: VideoFrame) -> Numbers:
    small = frame.reformat(width=_THUMB_PX[0], height=_THUMB_PX[1], format="gray")
    return np.asarray(small.to_ndarray(), np.float64).ravel()


def _alike(one: Numbers, other: Numbers) -> float:
    """Correlation of two pictures or sounds; 0 if one of them is flat."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _time_s(frame: VideoFrame) -> Fraction:
    return Fraction((frame.pts or 0) * (frame.time_base or Fraction(1)))
