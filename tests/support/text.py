"""Text as players read it from a release, and makers of text sources."""

import struct
from collections.abc import Iterable, Sequence

from encoder.subtitles import cues
from encoder.subtitles import ttml as timed_text
from headend.core import boxes, layout
from headend.core.media import Codec, Cue, Presentation, TextRendition, Track
from headend.core.storage import Store
from packager.fragments import read_fragments

Shown = tuple[int, int, str]
"""Start and end in milliseconds, and the text."""


def srt(shown: Iterable[Shown]) -> str:
    """Return a usual SRT sidecar."""
    return "\n".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(shown, start=1)
    )


def webvtt(shown: Iterable[Shown]) -> str:
    return "WEBVTT\n\n" + "\n".join(f"{_clock(a, '.')} --> {_clock(b, '.')}\n{text}\n" for a, b, text in shown)


def ass(shown: Iterable[Shown]) -> str:
    head = (
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\n"
        "Style: Default,Arial,20\n\n"
        "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
    lines = (
        "Dialogue: 0,{},{},Default,,0,0,0,,{}".format(
            _clock(a, ".")[1:-1], _clock(b, ".")[1:-1], t.replace("\n", r"\N")
        )
        for a, b, t in shown
    )
    return head + "\n".join(lines) + "\n"


def ttml(shown: Iterable[Shown]) -> str:
    lines = (
        f'<p begin="{_clock(a, ".")}" end="{_clock(b, ".")}">{text.replace(chr(10), "<br/>")}</p>'
        for a, b, text in shown
    )
    return (
        '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" xml:lang="en">'
        f"<body><div>{''.join(lines)}</div></body></tt>"
    )


def shown(found: Iterable[Cue]) -> list[Shown]:
    return [(cue.start_ms, cue.end_ms, cue.text) for cue in found]


def track_cues(store: Store, presentation: Presentation, track: Track[TextRendition]) -> list[Cue]:
    """Return all cues of a track, each once, read from its segments one by one."""
    rendition = track.rendition
    keys = [layout.track_segment(presentation.title, track.id, segment.number) for segment in track.segments]
    segments = [store.get(key) for key in keys]
    if rendition.codec is Codec.VTT:
        return merged_files(segments)
    if rendition.codec is Codec.WVTT:
        return merged_samples(segments, track.timescale)
    documents = [_documents(segment)[0] for segment in segments]
    found = [cue for document in documents for cue in timed_text.cues(timed_text.read(document, "segment"))]
    return sorted(dict.fromkeys(found), key=lambda cue: (cue.start_ms, cue.end_ms))


def merged_files(segments: Sequence[bytes]) -> list[Cue]:
    """Return the cues of WebVTT files; a cue in several files is the same in each."""
    found = (cue for segment in segments for cue in file_cues(segment))
    return list(dict.fromkeys(found))


def file_cues(segment: bytes) -> tuple[Cue, ...]:
    """Return the cues of a WebVTT file, as FFmpeg reads them."""
    return cues.read(segment, file_format="webvtt")


def merged_samples(segments: Sequence[bytes], timescale: int) -> list[Cue]:
    """Return the cues of WebVTT in MP4: consecutive samples with the same source id are one cue."""
    spans: dict[int, tuple[int, int]] = {}
    texts: dict[int, tuple[str, str, str]] = {}
    for segment in segments:
        for start, end, sample in _samples(segment):
            for box in boxes.children(sample):
                if box.kind == "vtte":
                    continue
                parts = {part.kind: sample[part.body : part.end] for part in boxes.children(sample, box.body, box.end)}
                (source,) = struct.unpack(">I", parts["vsid"])
                text = tuple(parts.get(kind, b"").decode() for kind in ("payl", "sttg", "iden"))
                assert texts.setdefault(source, text) == text
                first, last = spans.get(source, (start, start))
                assert last == start, "a cue goes away and comes back"
                spans[source] = (first, end)
    return [
        Cue(round(start * 1000 / timescale), round(end * 1000 / timescale), *texts[source])
        for source, (start, end) in sorted(spans.items())
    ]


def _samples(segment: bytes) -> Iterable[tuple[int, int, bytes]]:
    for fragment in read_fragments(segment):
        time, at = fragment.decode_ticks, fragment.media
        for sample in fragment.samples:
            yield time, time + sample.duration_ticks, segment[at : at + sample.size_bytes]
            time, at = time + sample.duration_ticks, at + sample.size_bytes


def _documents(segment: bytes) -> list[bytes]:
    return [sample for _, _, sample in _samples(segment)]


def _clock(time_ms: int, mark: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{ms:03}"
