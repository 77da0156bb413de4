"""Compare a release with its master: check that picture and sound are shown at the same times as in the master.

The only input from the plan is the start of the film. Pictures are compared as small grey pictures, and sound by its
level, since scaling, tone mapping, mixing and encoding hardly change these. Scenes without motion or sound are
inconclusive.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame

from encoder.forward_reader import ForwardReader
from encoder.probing import SOUND_CONTAINERS, avoid_custom_layout, opened
from headend.core.media import Master
from headend.core.timing import ceil_div

SEARCH_S = Fraction(4)
"""How far before and after its time a picture or a sound is searched in the master."""
SOUND_TOLERANCE_S = Fraction(1, 20)
"""Tolerance for sound: little more than a frame of the picture or of a codec."""
PICTURE_TOLERANCE_FRAMES = Fraction(3, 2)
"""Tolerance for pictures, in frames of the master: fields and uneven times account for up to one."""
_BIN_HZ = 200
"""Number of sound levels in a second."""
_THUMB_PX = (48, 27)
"""Size of the small grey pictures."""
_MIN_CORRELATION, _MIN_DIFFERENCE = 0.9, 0.02
"""A picture or sound is reported as shifted if its correlation at another time is at least the first value, and higher
than at the expected time by more than the second."""
_MIN_VARIATION = 0.05
"""If the level of sound varies less than this, relative to its mean, the result is inconclusive."""

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


class Reference:
    """A file that segments are compared with. Several threads may use it.

    It is read forward once if segments are compared in order of time, whatever the number of renditions.

    Args:
        master: The file; named in errors.
        input_url: Where to read it.
    """

    def __init__(self, master: Master, input_url: str) -> None:
        self._master, self._input_url = master, input_url
        self._pictures: dict[int, ForwardReader[Numbers]] = {}
        self._levels: dict[int, ForwardReader[Numbers]] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close the file."""
        for reader in (*self._pictures.values(), *self._levels.values()):
            reader.close()

    def compare_sound(self, piece: Piece, zero_s: Fraction) -> str:
        """Compare a segment of sound with the file.

        Args:
            piece: The segment.
            zero_s: When the master shows its first frame.

        Returns:
            A message if the sound is shifted; empty if not.

        Raises:
            MasterError: The file can't be read.
        """
        with av.open(str(piece.path)) as container:
            first_s, levels = _in_bins(_levels(container, container.streams.audio[0]))
        if len(levels) < _BIN_HZ // 2 or levels.std() <= _MIN_VARIATION * max(levels.mean(), 1e-4):
            return ""
        from_s = first_s + zero_s - SEARCH_S
        end_s = from_s + 2 * SEARCH_S + Fraction(len(levels), _BIN_HZ)
        start_s, master_levels = _in_bins(self._levels_of(piece.stream).part(from_s, end_s))
        if not len(master_levels):
            return f"it has sound at {float(first_s):.3f} s, the master has none"
        return _sound_shift(first_s, levels, start_s - from_s, master_levels)

    def compare_picture(self, piece: Piece, zero_s: Fraction) -> str:
        """Compare a segment of picture by its first, middle and last frame; see `compare_sound`."""
        with av.open(str(piece.path)) as container:
            frames = [(_time_s(frame), _thumb(frame)) for frame in container.decode(video=0)]
        if not frames:
            return ""
        chosen = [frames[number] for number in sorted({0, len(frames) // 2, len(frames) - 1})]
        first_s, last_s = chosen[0][0] + zero_s - SEARCH_S, chosen[-1][0] + zero_s + SEARCH_S
        # The picture before the first time is still shown then.
        shown = [(max(at_s, first_s), thumb) for at_s, thumb in self._pictures_of(piece.stream).part(first_s, last_s)]
        if not shown:
            return f"it shows something at {float(chosen[0][0]):.3f} s, the master shows nothing"
        return _picture_shift(chosen, [(at_s - zero_s, thumb) for at_s, thumb in shown])

    def _pictures_of(self, stream: int) -> ForwardReader[Numbers]:
        with self._lock:
            return self._pictures.setdefault(stream, ForwardReader(partial(self._read_pictures, stream)))

    def _levels_of(self, stream: int) -> ForwardReader[Numbers]:
        with self._lock:
            return self._levels.setdefault(stream, ForwardReader(partial(self._read_levels, stream)))

    def _read_pictures(self, stream_number: int, from_s: Fraction) -> Generator[tuple[Fraction, Numbers], None, None]:
        with opened(self._master, self._input_url) as container:
            stream = container.streams[stream_number]
            _seek(container, stream_number, from_s - SEARCH_S)
            for frame in _decoded(container, stream):
                if isinstance(frame, VideoFrame) and (at_s := _frame_time_s(frame, stream)) is not None:
                    yield at_s, _thumb(frame)

    def _read_levels(self, stream_number: int, from_s: Fraction) -> Generator[tuple[Fraction, Numbers], None, None]:
        with opened(self._master, self._input_url, SOUND_CONTAINERS) as container:
            _seek(container, stream_number, from_s - 1)
            yield from _levels(container, container.streams[stream_number])


def _sound_shift(first_s: Fraction, levels: Numbers, offset_s: Fraction, master_levels: Numbers) -> str:
    """Search sound in the master's.

    Args:
        first_s: When the sound begins, named in the message.
        levels: Its levels.
        offset_s: When the master's levels begin, from `SEARCH_S` before the sound.
        master_levels: The master's levels.

    Returns:
        A message if the sound is shifted; empty if not.
    """
    # The master's levels from `SEARCH_S` before the segment to as long after it.
    margin = round(SEARCH_S * _BIN_HZ)
    searched = np.zeros(len(levels) + 2 * margin)
    offset = round(offset_s * _BIN_HZ)
    low, high = max(0, offset), min(len(searched), offset + len(master_levels))
    searched[low:high] = master_levels[low - offset : high - offset]
    correlations = np.array([_correlation(levels, searched[at : at + len(levels)]) for at in range(2 * margin + 1)])
    best = int(correlations.argmax())
    shift_s = Fraction(best - margin, _BIN_HZ)
    expected = correlations[margin - 2 : margin + 3].max()
    if (
        correlations[best] < _MIN_CORRELATION
        or abs(shift_s) <= SOUND_TOLERANCE_S
        or correlations[best] - expected < 5 * _MIN_DIFFERENCE
    ):
        return ""
    # Repetitive sound also matches at other times, but hardly better than at the right one.
    allowed = round(SOUND_TOLERANCE_S * _BIN_HZ)
    if correlations[best] - correlations[margin - allowed : margin + allowed + 1].max() < _MIN_DIFFERENCE:
        return ""
    how = "early" if shift_s > 0 else "late"
    return f"its sound at {float(first_s):.3f} s is {abs(float(shift_s)):.3f} s {how} against the master's times"


def _picture_shift(
    frames: Sequence[tuple[Fraction, Numbers]], master_frames: Sequence[tuple[Fraction, Numbers]]
) -> str:
    """Search frames among the master's, by their times from the film's start; see `_sound_shift`."""
    steps = sorted(after[0] - here[0] for here, after in pairwise(master_frames))
    tolerance_s = PICTURE_TOLERANCE_FRAMES * max(steps[len(steps) // 2] if steps else 0, Fraction(1, 100))
    for at_s, thumb in frames:
        near = [
            (time_s, _correlation(thumb, other)) for time_s, other in master_frames if abs(time_s - at_s) <= SEARCH_S
        ]
        if not near:
            continue
        best_s, best = max(near, key=lambda match: match[1])
        if best >= _MIN_CORRELATION and best - _expected(near, at_s, tolerance_s) > _MIN_DIFFERENCE:
            return f"its picture at {float(at_s):.3f} s is what the master shows at {float(best_s):.3f} s"
    return ""


def _expected(near: Sequence[tuple[Fraction, float]], at_s: Fraction, tolerance_s: Fraction) -> float:
    """The highest correlation with the master's frames at a time, within the tolerance; -1 if there are none."""
    within = [correlation for time_s, correlation in near if abs(time_s - at_s) <= tolerance_s]
    # The frame that is shown at this time is the last one that starts before it.
    shown = [correlation for time_s, correlation in near if time_s <= at_s + tolerance_s][-1:]
    return max((*within, *shown), default=-1.0)


def first_frame_s(master: Master, input_url: str, stream: int) -> Fraction:
    """When a master shows its first frame, found by decoding it.

    Raises:
        MasterError: The master can't be read.
    """
    with opened(master, input_url) as container:
        picture = container.streams[stream]
        for frame in _decoded(container, picture):
            if isinstance(frame, VideoFrame) and (at_s := _frame_time_s(frame, picture)) is not None:
                return at_s
    return Fraction(0)


def segments_to_compare(count: int, wanted: int, special: Sequence[int] = ()) -> list[int]:
    """Numbers of segments to compare, from 1: evenly spaced ones, and ``special`` ones."""
    even = {1 + (count - 1) * number // max(1, wanted - 1) for number in range(wanted)}
    return sorted({number for number in (*even, *special) if 1 <= number <= count})


def _seek(container: InputContainer, stream: int, at_s: Fraction) -> None:
    if at_s <= 0:
        return
    chosen = container.streams[stream]
    container.seek(int(at_s / (chosen.time_base or Fraction(1))), stream=chosen)


def _frame_time_s(frame: VideoFrame, stream: Stream) -> Fraction | None:
    """When a frame is shown; None if that is not known.

    Some containers, such as MPEG-PS, state presentation times for some frames only. For the others, FFmpeg derives the
    time from the order in which frames leave the decoder. The commands that encode use the same times.
    """
    ticks = frame.pts if frame.pts is not None else frame.dts
    return None if ticks is None else Fraction(ticks * (stream.time_base or Fraction(1)))


def _decoded(container: InputContainer, stream: Stream) -> Iterator[Any]:
    """Frames of a stream; skips packets that can't be decoded, such as incomplete ones after a seek."""
    for packet in container.demux(stream):
        with suppress(av.FFmpegError):
            yield from packet.decode()


def _in_bins(levels: Iterable[tuple[Fraction, Numbers]]) -> tuple[Fraction, Numbers]:
    """Start of the first bin, and the level in each bin, `_BIN_HZ` in a second."""
    bins: dict[int, float] = {}
    for at_s, values in levels:
        for number, value in enumerate(values):
            index = int(at_s * _BIN_HZ) + number
            bins[index] = max(bins.get(index, 0.0), value)
    if not bins:
        return Fraction(0), np.zeros(0)
    first, last = min(bins), max(bins)
    return Fraction(first, _BIN_HZ), np.array([bins.get(index, 0.0) for index in range(first, last + 1)])


def _levels(container: InputContainer, stream: Stream) -> Iterator[tuple[Fraction, Numbers]]:
    """Time of each decoded frame, and the mean level of all channels in bins."""
    resampler: av.AudioResampler | None = None
    if isinstance(stream, AudioStream):
        avoid_custom_layout(stream)
    for frame in _decoded(container, stream):
        if not isinstance(frame, AudioFrame) or frame.pts is None or frame.time_base is None:
            continue
        at_s = frame.pts * frame.time_base
        # With more than eight channels, PyAV crashes when it reads samples that are not interleaved.
        resampler = resampler or av.AudioResampler(format="flt")
        samples = np.concatenate([part.to_ndarray() for part in resampler.resample(frame)], axis=1)
        size = max(1, frame.sample_rate // _BIN_HZ)
        level = np.abs(samples.reshape(-1, frame.layout.nb_channels)).mean(axis=1)
        count = ceil_div(len(level), size)
        padded = np.pad(level, (0, count * size - len(level)), mode="edge")
        yield at_s, padded.reshape(count, size).mean(axis=1)


def _thumb(frame: VideoFrame) -> Numbers:
    small = frame.reformat(width=_THUMB_PX[0], height=_THUMB_PX[1], format="gray")
    return np.asarray(small.to_ndarray(), np.float64).ravel()


def _correlation(one: Numbers, other: Numbers) -> float:
    """Correlation of two pictures or sounds; 0 if one of them is flat."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _time_s(frame: VideoFrame) -> Fraction:
    return Fraction((frame.pts or 0) * (frame.time_base or Fraction(1)))
