"""Read the cues that a task's command has extracted, and place them on the title's timeline.

FFmpeg writes them to Matroska, which separates a cue's text from its settings and its identifier: WebVTT unchanged, and
every other format as ASS events.

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
    """Counts of cues that are wholly or partly outside the picture.

    Attributes:
        before: Number of cues that end before the first frame.
        behind: Number of cues that start after the last frame.
        of: Number of all cues.
        first_ms: Start of the first cue outside, on the source's timeline; 0 if there is none.
        cut: Number of cues that are partly outside.
        first_cut_ms: Start of the first of these, on the source's timeline; 0 if there is none.
    """

    before: int
    behind: int
    of: int
    first_ms: int
    cut: int = 0
    first_cut_ms: int = 0

    @property
    def count(self) -> int:
        """Number of cues that are never shown."""
        return self.before + self.behind

    @property
    def share(self) -> Fraction:
        """Share of cues that are never shown."""
        return Fraction(self.count, self.of) if self.of else Fraction(0)


def read(source: Path | bytes, *, file_format: str = "matroska") -> tuple[Cue, ...]:
    """Read a file's cues, with the times in the file.

    Args:
        source: A path, or the file's bytes.
        file_format: FFmpeg's name of the format.

    Raises:
        av.FFmpegError: FFmpeg can't read it.
        IndexError: It has no text stream.
    """
    with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r", format=file_format) as container:
        stream = container.streams.subtitles[0]
        packets = container.demux(stream)
        tick_ms = (stream.time_base or Fraction(1, 1000)) * 1000
        context = stream.codec_context
        if context is not None and context.name in ("ass", "ssa"):
            header = (context.extradata or b"").decode(errors="replace")
            return ass.cues(
                ass.Script(header), ((a, b, _text(packet)) for a, b, packet in _with_times(packets, tick_ms))
            )
        return tuple(_cues(packets, tick_ms))


def place_on_timeline(cues: Iterable[Cue], *, start_s: Fraction, duration_s: Fraction) -> tuple[Cue, ...]:
    """Place cues on the title's timeline, ordered by time, and cut them to the duration of the picture.

    Args:
        cues: The cues, on the timeline of their source.
        start_s: When the picture starts, on that timeline.
        duration_s: Duration of the picture.
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
    """Count the cues that `place_on_timeline` drops, and those that it cuts.

    Args:
        times_ms: Start and end of each cue, on the source's timeline.
        start_s: As for `place_on_timeline`.
        duration_s: As for `place_on_timeline`.
    """
    start_ms, end_ms = milliseconds(start_s), milliseconds(start_s + duration_s)
    times = list(times_ms)
    before = [start for start, end in times if end <= start_ms]
    behind = [start for start, _ in times if start >= end_ms]
    cut = [start for start, end in times if start < start_ms < end or start < end_ms < end]
    first_ms, first_cut_ms = (min(starts, default=0) for starts in ((*before, *behind), cut))
    return Outside(len(before), len(behind), len(times), first_ms, len(cut), first_cut_ms)


def format_time(time_ms: int) -> str:
    """Format a time as hours, minutes, seconds and milliseconds."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def milliseconds(seconds: Fraction) -> int:
    """Round to milliseconds, the unit of WebVTT."""
    return round(seconds * 1000)


def escape(text: str) -> str:
    """Escape plain text for WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_Packet: TypeAlias = "av.Packet[SubtitleStream]"


def _with_times(packets: Iterable[_Packet], tick_ms: Fraction) -> Iterator[tuple[int, int, _Packet]]:
    for packet in packets:
        if packet.pts is not None and packet.duration:
            yield round(packet.pts * tick_ms), round((packet.pts + packet.duration) * tick_ms), packet


def _text(packet: _Packet) -> str:
    return bytes(packet).decode(errors="replace")


def _cues(packets: Iterable[_Packet], tick_ms: Fraction) -> Iterator[Cue]:
    for start_ms, end_ms, packet in _with_times(packets, tick_ms):
        side_data = {side.data_type: bytes(side).decode(errors="replace") for side in packet.iter_sidedata()}
        text = clean(_text(packet))
        if text:
            settings, identifier = (
                " ".join(side_data.get(f"webvtt_{name}", "").replace("-->", "").split())
                for name in ("settings", "identifier")
            )
            yield Cue(start_ms, end_ms, text, settings, identifier)
