"""Spans of continuous sound, from the times of its packets.

Packets are counted in samples where the codec fixes how many each holds, since containers round times and durations: to
milliseconds in Matroska, to 1/90000 s in MPEG-TS.
"""

import re
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import lcm

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from encoder.timelines import pace
from encoder.timelines.samples import Count
from headend.core.media import Change, Span, Timeline

BREAK_S = Fraction(1, 100)
"""A longer step between packets is a gap or an overlap: shorter than a codec's frame, longer than rounding."""
DRIFT_S = Fraction(1, 100)
"""A stream whose time stamps and samples disagree by more than this is resampled."""
LONGEST_FRAME_S = Fraction(13, 100)
"""Longer than any codec's frame; Opus has the longest, with 120 ms (RFC 6716, section 2.1.4)."""
_RETURN_PACKETS = 3
"""A step that is undone within so many packets is a wrong time stamp, as MPEG-PS has them, and no break."""
_MOST, _NEARLY_ALL = 0.9, 0.99
"""Shares of packets that must last alike to be taken for alike."""
_QUANTA = {"ac3": 1536, "eac3": 256, "dts": 512, "opus": 120}
"""What the samples of a packet are a multiple of, by codec, where FFmpeg does not say how many they are.

Source: ETSI TS 102 366, sections 4.2 and E.1.2; ETSI TS 102 114, section 5.4; RFC 6716, section 2.1.4.
"""
_PCM = re.compile(r"pcm_(?:s|u|f)(8|16|24|32|64)(?:le|be)?$")

Numbers = npt.NDArray[np.int64]


@dataclass(slots=True)
class Stated:
    """What packets say of their channels and sample rate.

    Attributes:
        runs: From when on, in words, and for how many packets.
        lasting_packets: What is said by fewer in a row is damage.
    """

    runs: list[tuple[int, str, int]] = field(default_factory=list)
    lasting_packets: int = 3

    def say(self, pts_ticks: int, words: str) -> None:
        """Note what a packet says; nothing changes where it says nothing."""
        if not words:
            return
        if self.runs and self.runs[-1][1] == words:
            start, _, count = self.runs[-1]
            self.runs[-1] = (start, words, count + 1)
        else:
            self.runs.append((pts_ticks, words, 1))

    def changes(self, time_base: Fraction) -> tuple[Change, ...]:
        """Where it changes for longer than damage does."""
        lasting = [(start, words) for start, words, count in self.runs if count >= self.lasting_packets]
        return tuple(
            Change(start * time_base, before, after)
            for (_, before), (start, after) in pairwise(lasting)
            if before != after
        )


@dataclass(slots=True)
class PacketTimes:
    """What the packets of a stream of sound say, in the order of the file.

    Attributes:
        pts_ticks: When each starts.
        duration_ticks: How long it lasts; 0 where that is not known.
        size_bytes: How large it is.
        samples: How many samples it holds by its own first bytes; 0 where they don't tell.
        places: Where in the file it lies, in bytes; -1 where that is not known.
        skipped_samples: Samples at the start of the first packet that are never heard, such as an encoder's delay.
        count: Tells how many samples a packet holds by its first bytes; None where they don't.
        header: The codec's latest header.
        kinds: Channels and sample rate, by the headers of packets or by the latest header of the codec.
        elements: Channels, by what is in packets.
    """

    pts_ticks: "array[int]" = field(default_factory=lambda: array("q"))
    duration_ticks: "array[int]" = field(default_factory=lambda: array("q"))
    size_bytes: "array[int]" = field(default_factory=lambda: array("q"))
    samples: "array[int]" = field(default_factory=lambda: array("q"))
    places: "array[int]" = field(default_factory=lambda: array("q"))
    skipped_samples: int = 0
    count: Count | None = None
    header: bytes = b""
    kinds: Stated = field(default_factory=Stated)
    elements: Stated = field(default_factory=Stated)

    def changes(self, time_base: Fraction) -> tuple[Change, ...]:
        """Where channels or sample rate change by what packets say, for longer than damage does."""
        return self.kinds.changes(time_base) or self.elements.changes(time_base)

    def add(self, pts_ticks: int, duration_ticks: int, size_bytes: int, samples: int = 0, place: int = -1) -> None:
        """Take one more packet."""
        self.pts_ticks.append(pts_ticks)
        self.duration_ticks.append(duration_ticks)
        self.size_bytes.append(size_bytes)
        self.samples.append(samples)
        self.places.append(place)


def frame_bytes(codec: str, channels: int) -> int:
    """Bytes of one sample of all channels, of PCM as it stands in files; 0 for other codecs."""
    found = _PCM.match(codec)
    return int(found[1]) // 8 * channels if found else 0


def packet_samples(codec: str, frame_size: int, extradata: bytes) -> int:
    """Samples that a codec has in each packet, as far as its header tells; 0 where that varies.

    Args:
        codec: FFmpeg's name.
        frame_size: What FFmpeg says; 0 for many codecs.
        extradata: The codec's header.

    Source: RFC 9639, section 8.2 (block sizes); Apple Lossless Format, ``ALACSpecificConfig``.
    """
    if frame_size:
        return frame_size
    if codec == "flac" and len(extradata) >= 4 and extradata[:2] == extradata[2:4]:
        return int.from_bytes(extradata[:2])
    if codec == "alac" and len(extradata) >= 16:
        return int.from_bytes(extradata[12:16])
    return 0


def timeline(
    packets: PacketTimes,
    time_base: Fraction,
    *,
    rate_hz: int,
    packet_samples: int = 0,
    sample_bytes: int = 0,
    codec: str = "",
) -> Timeline | None:
    """Find the spans of a stream of sound.

    Args:
        packets: Its packets. Their durations may reach up to the next packet, as in MOV, where a gap is a packet that
            lasts too long.
        time_base: Seconds of one tick.
        rate_hz: Samples per second.
        packet_samples: Samples that the codec has in each packet; 0 where that varies or is not known.
        sample_bytes: Bytes of a sample of all channels, of PCM; 0 for other codecs.
        codec: FFmpeg's name; of some, packets hold multiples of so many samples.

    Returns:
        The timeline; None where packets have no useful times.
    """
    if len(packets.pts_ticks) < 2 or rate_hz <= 0:
        return None
    unit = lcm(time_base.denominator, rate_hz)
    if unit > 1 << 31:
        return None
    scale = time_base.numerator * (unit // time_base.denominator)
    pts: Numbers = np.asarray(packets.pts_ticks, np.int64) * scale
    durations: Numbers = np.asarray(packets.duration_ticks, np.int64) * scale
    sample = unit // rate_hz
    quantum = _QUANTA.get(codec, 0) * sample
    lengths, counted = _lengths(pts, durations, packets, sample, packet_samples, sample_bytes, quantum, unit)
    changes = packets.changes(time_base)
    # Opus has one rate, and may leave out packets where nothing is said.
    if counted and not changes and codec != "opus":
        changes = pace.changes(pts, lengths, unit)
    steps = pts[1:] - (pts[:-1] + lengths[:-1])
    breaks = _breaks(steps, unit)
    starts = np.concatenate(([0], breaks))
    last = np.concatenate((breaks - 1, [len(pts) - 1]))
    spans = tuple(
        Span(Fraction(int(pts[a]), unit), Fraction(int(pts[b] + lengths[b]), unit))
        for a, b in zip(starts, last, strict=True)
    )
    small = np.ones(len(steps), bool)
    small[breaks - 1] = False
    drift_s = Fraction(_furthest(np.cumsum(np.where(small, steps, 0))), unit) if counted else Fraction(0)
    return Timeline(spans, drift_s if abs(drift_s) > DRIFT_S else Fraction(0), changes)


def _lengths(
    pts: Numbers,
    durations: Numbers,
    packets: PacketTimes,
    sample: int,
    packet_samples: int,
    sample_bytes: int,
    quantum: int,
    unit: int,
) -> tuple[Numbers, bool]:
    """How long each packet lasts, and whether that was counted in samples."""
    if sample_bytes:
        return np.asarray(packets.size_bytes, np.int64) // sample_bytes * sample, True
    own: Numbers = np.asarray(packets.samples, np.int64) * sample
    if (own[1:] > 0).all():
        # The first packet of some codecs only prepares for the second one.
        own[0] = own[0] or max(0, int(pts[1] - pts[0]))
        # What the last one holds beyond its duration is padding.
        own[-1] = min(own[-1], int(durations[-1])) if durations[-1] > 0 else own[-1]
        return own, True
    known = durations[durations > 0]
    if not len(known):
        known = np.diff(pts)
    usual = int(np.median(known))
    exact = packet_samples * sample
    # Packets on top of each other are no short ones: their times had to be moved, since they went back.
    apart = known[known > usual * pace.CROWDED] if exact else known
    alike = np.mean(np.abs(apart - usual) <= max(usual // 100, unit // 900)) if len(apart) else 0.0
    constant = alike > _MOST
    if not exact and quantum and alike > _NEARLY_ALL:
        exact = round(usual / quantum) * quantum
    if exact and constant and abs(usual - exact) <= exact // 10:
        lengths = np.full(len(pts), exact, np.int64)
        # The last one may be shorter: what it holds beyond its duration is padding.
        lengths[-1] = min(exact, int(durations[-1])) if durations[-1] > 0 else exact
        return lengths, True
    if constant:
        # Whole frames of the codec, whatever a container says of one that is followed by a gap.
        return np.where(durations > 0, np.minimum(durations, usual), usual), False
    longest = round(LONGEST_FRAME_S * unit)
    return np.where((durations > 0) & (durations < longest), durations, usual), False


def _furthest(drifted: Numbers) -> int:
    """How far time stamps have drifted where it is most, since they may come back; single wrong ones don't count."""
    lasting = sliding_window_view(drifted, min(len(drifted), _RETURN_PACKETS + 1))
    least = np.abs(lasting).min(axis=1)
    place = int(np.argmax(least))
    return int(least[place]) * (1 if lasting[place].sum() > 0 else -1)


def _breaks(steps: Numbers, unit: int) -> npt.NDArray[np.int64]:
    """Numbers of the packets before which time breaks off."""
    allowed = int(BREAK_S * unit)
    large = np.abs(steps) > allowed
    moved = np.concatenate(([0], np.cumsum(np.where(large, steps, 0))))
    found: list[int] = []
    at = 0
    numbers = np.flatnonzero(large)
    for place, number in enumerate(numbers):
        if number < at:
            continue
        # Back where it was within a few packets: these few have wrong time stamps.
        back = next(
            (
                int(other)
                for other in numbers[place + 1 : place + 1 + _RETURN_PACKETS]
                if other <= number + _RETURN_PACKETS and abs(int(moved[other + 1] - moved[number])) <= allowed
            ),
            None,
        )
        if back is None:
            found.append(int(number) + 1)
        else:
            at = back + 1
    return np.asarray(found, np.int64)
