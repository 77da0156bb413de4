"""Cues: what a task's command leaves of a programme of text, as pieces of text with exact times.

FFmpeg writes streams into Matroska, which keeps payload, settings and identifiers apart, so that nothing in a text can
be taken for something else: WebVTT as it was, all else as events of ASS.

Source: W3C, WebVTT, sections 4.1 and 4.2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import av
from av.subtitles.stream import SubtitleStream

from encoder.subtitles import ass
from encoder.subtitles.webvtt import clean
from headend.core.media import Cue


@dataclass(frozen=True, slots=True)
class Outside:
    """Cues that are never shown, since they lie before or behind the picture, and cues of which a part does.

    Attributes:
        before: How many end before the first frame.
        behind: How many start after the last.
        of: How many cues there are in all.
        first_ms: When the first of those outside starts, in the time of their source; 0 without any.
        cut: How many are shown in part.
        first_cut_ms: When the first of these starts, likewise.
    """

    before: int
    behind: int
    of: int
    first_ms: int
    cut: int = 0
    first_cut_ms: int = 0

    @property
    def count(self) -> int:
        """How many are never shown."""
        return self.before + self.behind

    @property
    def share(self) -> Fraction:
        """How many of all."""
        return Fraction(self.count, self.of) if self.of else Fraction(0)


def read(source: Path | bytes, *, file_format: str = "matroska") -> tuple[Cue, ...]:
    """Read a file's cues, in the file's own time.

    Args:
        source: A path, or the bytes themselves.
        file_format: FFmpeg's name.

    Raises:
        av.FFmpegError: FFmpeg can't read it.
        IndexError: It has no stream of text.
    """
    with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r", format=file_format) as container:
        stream = container.streams.subtitles[0]
        packets = container.demux(stream)
        tick_ms = (stream.time_base or Fraction(1, 1000)) * 1000
        context = stream.codec_context
        if context is not None and context.name in ("ass", "ssa"):
            header = (context.extradata or b"").decode(errors="replace")
            return ass.cues(ass.Script(header), ((a, b, _text(packet)) for a, b, packet in _timed(packets, tick_ms)))
        return tuple(_cues(packets, tick_ms))


def placed(cues: Iterable[Cue], *, start_s: Fraction, duration_s: Fraction) -> tuple[Cue, ...]:
    """Put cues on the title's timeline, in the order of their times; what lies outside of the picture is cut.

    Args:
        cues: In the time of their source.
        start_s: When the picture starts, in that time.
        duration_s: How long the picture lasts.
    """
    end_ms = milliseconds(duration_s)
    shifted = (
        replace(
            cue,
            start_ms=max(0, milliseconds(Fraction(cue.start_ms, 1000) - start_s)),
            end_ms=min(end_ms, milliseconds(Fraction(cue.end_ms, 1000) - start_s)),
        )
        for cue in cues
    )
    return tuple(sorted((c for c in shifted if c.start_ms < c.end_ms), key=lambda c: (c.start_ms, c.end_ms)))


def outside(times_ms: Iterable[tuple[int, int]], *, start_s: Fraction, duration_s: Fraction) -> Outside:
    """Count the cues that `placed` drops, and those that it cuts.

    Args:
        times_ms: When each cue starts and ends, in the time of their source.
        start_s: As for `placed`.
        duration_s: As for `placed`.
    """
    start_ms, end_ms = milliseconds(start_s), milliseconds(start_s + duration_s)
    all_of_them = list(times_ms)
    before = [start for start, end in all_of_them if end <= start_ms]
    behind = [start for start, _ in all_of_them if start >= end_ms]
    cut = [start for start, end in all_of_them if start < start_ms < end or start < end_ms < end]
    first_ms, first_cut_ms = (min(starts, default=0) for starts in ((*before, *behind), cut))
    return Outside(len(before), len(behind), len(all_of_them), first_ms, len(cut), first_cut_ms)


def clock(time_ms: int) -> str:
    """A time as people read it: hours, minutes, seconds and milliseconds."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def milliseconds(seconds: Fraction) -> int:
    """The nearest millisecond, in which WebVTT counts."""
    return round(seconds * 1000)


def escaped(text: str) -> str:
    """Let a text stand for itself in WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_Packet: TypeAlias = "av.Packet[SubtitleStream]"


def _timed(packets: Iterable[_Packet], tick_ms: Fraction) -> Iterator[tuple[int, int, _Packet]]:
    for packet in packets:
        if packet.pts is not None and packet.duration:
            yield round(packet.pts * tick_ms), round((packet.pts + packet.duration) * tick_ms), packet


def _text(packet: _Packet) -> str:
    return bytes(packet).decode(errors="replace")


def _cues(packets: Iterable[_Packet], tick_ms: Fraction) -> Iterator[Cue]:
    for start_ms, end_ms, packet in _timed(packets, tick_ms):
        beside = {side.data_type: bytes(side).decode(errors="replace") for side in packet.iter_sidedata()}
        text = clean(_text(packet))
        if text:
            settings, identifier = (
                " ".join(beside.get(f"webvtt_{name}", "").replace("-->", "").split())
                for name in ("settings", "identifier")
            )
            yield Cue(start_ms, end_ms, text, settings, identifier)
