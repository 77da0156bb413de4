"""Find spans of continuous sound from the times of its packets.

If the codec defines the number of samples in a packet, samples are counted, since containers round times and durations:
to milliseconds in Matroska, to 1/90000 s in MPEG-TS.
"""

import re
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from encoder.timelines import pace
from encoder.timelines.samples import Count
from encoder.timelines.stated import StatedFormats
from headend.core.media import Change, Span, Timeline

BREAK_S = Fraction(1, 100)
"""Minimum length of a gap or an overlap between packets: shorter than a codec's frame, longer than rounding."""
DRIFT_S = Fraction(1, 100)
"""If the timestamps and the number of samples of a stream differ by more than this, it is resampled."""
MAX_FRAME_S = Fraction(13, 100)
"""Maximum duration of a codec's frame; Opus has the longest frames, 120 ms (RFC 6716, section 2.1.4)."""
_RETURN_PACKETS = 3
"""If timestamps jump and jump back within this many packets, as in MPEG-PS, they are wrong, and there is no break."""
_MIN_SHARE, _MIN_QUANTUM_SHARE = 0.9, 0.99
"""Minimum shares of packets with the same duration: for the duration to count as constant, and for `_QUANTA` to
apply."""
_QUANTA = {"ac3": 1536, "eac3": 256, "dts": 512, "opus": 120}
"""For codecs whose packet length FFmpeg does not state: the number of samples of a packet is a multiple of this.

Source: ETSI TS 102 366, sections 4.2 and E.1.2; ETSI TS 102 114, section 5.4; RFC 6716, section 2.1.4.
"""
_PCM = re.compile(r"pcm_(?:s|u|f)(8|16|24|32|64)(?:le|be)?$")

Numbers = npt.NDArray[np.int64]


@dataclass(slots=True)
class PacketTimes:
    """The packets of a stream of sound, in the file's order.

    Attributes:
        pts_ticks: Start of each packet.
        duration_ticks: Duration of each packet; 0 if unknown.
        size_bytes: Size of each packet.
        samples: Number of samples that the first bytes of each packet state; 0 if they don't.
        positions: Byte position of each packet in the file; -1 if unknown.
        discarded_ticks: Times of packets after the first that are decoded, but not played.
        skipped_samples: Samples at the start of the first packet that decoders drop, such as priming.
        count: Returns the number of samples of a packet from its first bytes; None if these don't state it.
        header: The codec's latest header.
        header_formats: Channels and sample rates that the headers of packets state, or the codec's latest header.
        content_formats: Channels that follow from the content of packets.
    """

    pts_ticks: "array[int]" = field(default_factory=lambda: array("q"))
    duration_ticks: "array[int]" = field(default_factory=lambda: array("q"))
    size_bytes: "array[int]" = field(default_factory=lambda: array("q"))
    samples: "array[int]" = field(default_factory=lambda: array("q"))
    positions: "array[int]" = field(default_factory=lambda: array("q"))
    discarded_ticks: list[int] = field(default_factory=list)
    skipped_samples: int = 0
    count: Count | None = None
    header: bytes = b""
    header_formats: StatedFormats = field(default_factory=StatedFormats)
    content_formats: StatedFormats = field(default_factory=StatedFormats)

    @property
    def hidden_ticks(self) -> list[int]:
        """Times of the packets that are not played although packets before and after them are."""
        end = self.pts_ticks[-1] if self.pts_ticks else 0
        return [time for time in self.discarded_ticks if time <= end]

    def changes(self, time_base: Fraction) -> tuple[Change, ...]:
        """Changes of channels or sample rate."""
        return self.header_formats.changes(time_base) or self.content_formats.changes(time_base)

    def add(self, pts_ticks: int, duration_ticks: int, size_bytes: int, samples: int = 0, position: int = -1) -> None:
        """Add a packet."""
        self.pts_ticks.append(pts_ticks)
        self.duration_ticks.append(duration_ticks)
        self.size_bytes.append(size_bytes)
        self.samples.append(samples)
        self.positions.append(position)


def frame_bytes(codec: str, channels: int) -> int:
    """Bytes of one sample of all channels of PCM in a file; 0 for other codecs."""
    found = _PCM.match(codec)
    return int(found[1]) // 8 * channels if found else 0


def packet_samples(codec: str, frame_size: int, extradata: bytes) -> int:
    """Samples in each packet according to the codec's header; 0 if they vary.

    Args:
        codec: FFmpeg's name.
        frame_size: FFmpeg's value; 0 for many codecs.
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
        packets: Its packets. A packet's duration may extend to the next packet, as in MOV, so that it is too long
            before a gap.
        time_base: Seconds of one tick.
        rate_hz: Samples per second.
        packet_samples: Samples in each packet; 0 if variable or unknown.
        sample_bytes: Bytes of a sample of all channels of PCM; 0 for other codecs.
        codec: FFmpeg's name.

    Returns:
        The timeline; None if packets have no useful times.
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
    lengths, counted = _packet_lengths(pts, durations, packets, sample, packet_samples, sample_bytes, quantum, unit)
    changes = packets.changes(time_base)
    # Opus has only one rate, and may omit packets during silence.
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
    drift_s = Fraction(_largest_drift(np.cumsum(np.where(small, steps, 0))), unit) if counted else Fraction(0)
    return Timeline(spans, drift_s if abs(drift_s) > DRIFT_S else Fraction(0), changes)


def _packet_lengths(
    pts: Numbers,
    durations: Numbers,
    packets: PacketTimes,
    sample: int,
    packet_samples: int,
    sample_bytes: int,
    quantum: int,
    unit: int,
) -> tuple[Numbers, bool]:
    """Duration of each packet, and whether it was counted in samples."""
    if sample_bytes:
        return np.asarray(packets.size_bytes, np.int64) // sample_bytes * sample, True
    stated: Numbers = np.asarray(packets.samples, np.int64) * sample
    if (stated[1:] > 0).all():
        # In some codecs, the first packet has no samples.
        stated[0] = stated[0] or max(0, int(pts[1] - pts[0]))
        # Samples of the last packet beyond its duration are padding.
        stated[-1] = min(stated[-1], int(durations[-1])) if durations[-1] > 0 else stated[-1]
        return stated, True
    known = durations[durations > 0]
    if not len(known):
        known = np.diff(pts)
    usual = int(np.median(known))
    exact = packet_samples * sample
    # Ignore packets that are almost at the same time: a writer moved them, because their times went back.
    intervals = known[known > usual * pace.CROWDED_SHARE] if exact else known
    share_alike = np.mean(np.abs(intervals - usual) <= max(usual // 100, unit // 900)) if len(intervals) else 0.0
    constant = share_alike > _MIN_SHARE
    if not exact and quantum and share_alike > _MIN_QUANTUM_SHARE:
        exact = round(usual / quantum) * quantum
    if exact and constant and abs(usual - exact) <= exact // 10:
        lengths = np.full(len(pts), exact, np.int64)
        # Samples of the last packet beyond its duration are padding.
        lengths[-1] = min(exact, int(durations[-1])) if durations[-1] > 0 else exact
        return lengths, True
    if constant:
        # Limit durations to the codec's frame, since a container may extend one before a gap.
        return np.where(durations > 0, np.minimum(durations, usual), usual), False
    longest = round(MAX_FRAME_S * unit)
    return np.where((durations > 0) & (durations < longest), durations, usual), False


def _largest_drift(drifted: Numbers) -> int:
    """The largest drift of timestamps, even if it decreases later; single wrong timestamps don't count."""
    lasting = sliding_window_view(drifted, min(len(drifted), _RETURN_PACKETS + 1))
    least = np.abs(lasting).min(axis=1)
    position = int(np.argmax(least))
    return int(least[position]) * (1 if lasting[position].sum() > 0 else -1)


def _breaks(steps: Numbers, unit: int) -> npt.NDArray[np.int64]:
    """Numbers of the packets that follow a gap or an overlap."""
    allowed = int(BREAK_S * unit)
    large = np.abs(steps) > allowed
    moved = np.concatenate(([0], np.cumsum(np.where(large, steps, 0))))
    found: list[int] = []
    skip_to = 0
    numbers = np.flatnonzero(large)
    for position, number in enumerate(numbers):
        if number < skip_to:
            continue
        # If timestamps jump back within a few packets, the packets between have wrong ones.
        back = next(
            (
                int(other)
                for other in numbers[position + 1 : position + 1 + _RETURN_PACKETS]
                if other <= number + _RETURN_PACKETS and abs(int(moved[other + 1] - moved[number])) <= allowed
            ),
            None,
        )
        if back is None:
            found.append(int(number) + 1)
        else:
            skip_to = back + 1
    return np.asarray(found, np.int64)
