"""Cues: what a task's command leaves of a programme of text, as pieces of text with exact times.

FFmpeg reads every format and writes WebVTT into Matroska, which keeps payload, settings and identifiers apart, so that
nothing in a text can be taken for something else.

Source: W3C, WebVTT, sections 4.1 and 4.2.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.subtitles.stream import SubtitleStream

from headend.media import Cue

_STRAY_TAG = re.compile(r"<(?!/?[biu]>)")
"""What FFmpeg leaves as it stood when it turns other formats into WebVTT: only these three tags are its own."""
_STRAY_AMPERSAND = re.compile(r"&(?!(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,8});)")


def read(source: Path | bytes, *, verbatim: bool, file_format: str = "matroska") -> tuple[Cue, ...]:
    """Read a file's cues, in the file's own time.

    Args:
        source: A path, or the bytes themselves.
        verbatim: Whether the text was WebVTT from the beginning, so that all of its markup is meant.
        file_format: FFmpeg's name.

    Raises:
        av.FFmpegError: FFmpeg can't read it.
    """
    with av.open(BytesIO(source) if isinstance(source, bytes) else str(source), "r", format=file_format) as container:
        stream = container.streams.subtitles[0]
        return tuple(_cues(container.demux(stream), (stream.time_base or Fraction(1, 1000)) * 1000, verbatim))


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


def milliseconds(seconds: Fraction) -> int:
    """The nearest millisecond, in which WebVTT counts."""
    return round(seconds * 1000)


def escaped(text: str) -> str:
    """Let a text stand for itself in WebVTT."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cues(packets: Iterable["av.Packet[SubtitleStream]"], tick_ms: Fraction, verbatim: bool) -> Iterator[Cue]:
    for packet in packets:
        if packet.pts is None or not packet.duration:
            continue
        beside = {side.data_type: bytes(side).decode(errors="replace") for side in packet.iter_sidedata()}
        text = _payload(bytes(packet).decode(errors="replace"), verbatim)
        if text:
            start, end = packet.pts * tick_ms, (packet.pts + packet.duration) * tick_ms
            settings, identifier = (
                " ".join(beside.get(f"webvtt_{name}", "").replace("-->", "").split())
                for name in ("settings", "identifier")
            )
            yield Cue(round(start), round(end), text, settings, identifier)


def _payload(text: str, verbatim: bool) -> str:
    """One cue's text as a WebVTT file can hold it: no blank line, no arrow."""
    if not verbatim:
        text = _STRAY_AMPERSAND.sub("&amp;", _STRAY_TAG.sub("&lt;", text))
    lines = (line.rstrip() for line in text.replace("\0", "").replace("-->", "--&gt;").splitlines())
    return "\n".join(line for line in lines if line)
