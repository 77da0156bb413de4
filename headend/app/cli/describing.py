"""Releases and renditions as tables and as JSON."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from headend.app.cli.screen import table
from headend.app.cli.wording import count_text, kbps_text, rate_text
from headend.core import documents, layout
from headend.core.media import AnyTrack, AudioRendition, Kind, Presentation, TextRendition, VideoRendition
from headend.core.settings import StoreSettings
from headend.core.timing import ceil_div


def release_plain(presentation: Presentation, store: StoreSettings) -> dict[str, Any]:
    """Return a release as a document for ``--json``; paths are keys in the store."""
    title, release, grid = presentation.title, presentation.release, presentation.grid
    renditions: tuple[AnyTrack, ...] = (*presentation.video, *presentation.audio)
    return {
        "title": title,
        "release": release,
        "store": store.url,
        "hls": layout.multivariant(title, release),
        "dash": layout.mpd(title, release),
        "frames": grid.frame_count,
        "frame_rate": f"{grid.frame_rate.numerator}/{grid.frame_rate.denominator}",
        "duration_s": float(grid.duration_s),
        "damage": documents.as_plain(presentation.damage),
        "renditions": [_rendition_plain(track) for track in renditions],
        "text": [_rendition_plain(track) for track in presentation.text],
        "trick_play": [_rendition_plain(track) for track in presentation.trick],
        "thumbnails": _thumbnails_plain(presentation),
        "poster": layout.poster(title, release) if presentation.poster else None,
        **_protection_plain(presentation),
    }


def protection_facts(presentation: Presentation) -> list[tuple[str, str]]:
    """Describe a release's encryption; empty for a clear one."""
    if presentation.protection is None:
        return []
    schemes = [presentation.protection.scheme, *(copy.protection.scheme for copy in presentation.copies)]
    classes = ", ".join(dict.fromkeys(name.key_class for name in presentation.protection.names))
    first, *copies = schemes
    description = f"{first}, with keys for {classes}"
    grid, starts_s = presentation.grid, presentation.grid.segment_starts_s()
    if lead := presentation.protection.lead_segments:
        description += f"; in the clear for {float(starts_s[lead]):g} s"
    if period_segments := presentation.protection.period_segments:
        periods = ceil_div(grid.segment_count, period_segments)
        description += f"; new keys every {float(starts_s[period_segments]):g} s, {periods} of each class"
    return [("encrypted", f"{description}; copies in {', '.join(copies)}" if copies else description)]


def _protection_plain(presentation: Presentation) -> dict[str, Any]:
    """Return a release's encryption for ``--json``; a clear release has no such fields."""
    if presentation.protection is None:
        return {}
    protections = [presentation.protection, *(copy.protection for copy in presentation.copies)]
    return {
        "protection": [
            {
                "scheme": protection.scheme.value,
                "keys": [
                    {"kid": name.uuid, "class": name.key_class.value, "period": name.period}
                    for name in protection.names
                ],
                "clear_lead_segments": protection.lead_segments,
                "rotation_segments": protection.period_segments,
            }
            for protection in protections
        ]
    }


def _thumbnails_plain(presentation: Presentation) -> dict[str, Any] | None:
    if presentation.thumbnails is None:
        return None
    tiling = presentation.thumbnails.rendition
    return {
        "track": presentation.thumbnails.id,
        "index": layout.thumbnail_index(presentation.title, presentation.release),
        "width": tiling.tile_width_px,
        "height": tiling.tile_height_px,
        "every_s": float(tiling.interval_frames / presentation.grid.frame_rate),
        "columns": tiling.columns,
        "rows": tiling.rows,
        "sheets": len(presentation.thumbnails.segments),
    }


def thumbnails_text(presentation: Presentation) -> str:
    """Describe a release's thumbnails in one line."""
    if presentation.thumbnails is None:
        return "none"
    tiling = presentation.thumbnails.rendition
    every_s = float(tiling.interval_frames / presentation.grid.frame_rate)
    return (
        f"{tiling.tile_width_px}x{tiling.tile_height_px} every {every_s:.3f} s, "
        f"{tiling.columns}x{tiling.rows} to a sheet, "
        f"{count_text(len(presentation.thumbnails.segments), 'sheet')}, "
        f"{presentation.thumbnails.total_bytes / 1000:,.0f} kB"
    )


def _rendition_plain(track: AnyTrack) -> dict[str, Any]:
    rendition = track.rendition
    picture = rendition if isinstance(rendition, VideoRendition) else None
    sound = rendition if isinstance(rendition, AudioRendition) else None
    return {
        "id": rendition.id,
        "track": track.id,
        "kind": Kind.VIDEO if picture else Kind.AUDIO if sound else Kind.TEXT,
        "codec": rendition.codec,
        "width": picture and picture.width_px,
        "height": picture and picture.height_px,
        "channels": sound and sound.channels,
        "language": None if isinstance(rendition, VideoRendition) else rendition.language,
        "loudness": track.loudness and documents.as_plain(track.loudness),
        "average_bps": track.average_bps,
        "peak_bps": track.peak_bps,
        "segments": len(track.segments),
    }


def measured_table(presentation: Presentation) -> Table:
    """Lay out a release's renditions as a table, with measured rates."""
    return table(
        ("rendition", "picture, sound or text", "codecs", ">average", ">peak", ">segments", ">kB"),
        (
            (
                track.rendition.id,
                _summary(track.rendition),
                track.codec_string,
                kbps_text(track.average_bps),
                kbps_text(track.peak_bps),
                len(track.segments),
                f"{sum(segment.size_bytes for segment in track.segments) / 1000:,.0f}",
            )
            for track in presentation.all_tracks
        ),
    )


def concealed_facts(presentation: Presentation) -> list[tuple[str, str]]:
    """Describe concealed damage of the master, one line for each place."""
    return [("concealed", f"damage of the master at {place}") for place in presentation.damage]


def loudness_table(presentation: Presentation) -> Table:
    """Lay out the loudness of each programme and layout, before and after, as a table."""
    programmes = {
        (track.rendition.track_index, track.rendition.layout): (track.rendition, track.loudness)
        for track in presentation.audio
        if track.loudness is not None
    }
    return table(
        ("sound", ">LUFS", ">range LU", ">dBTP", ">gain dB", ">result LUFS", ">dBTP", "limited"),
        (
            (
                _summary(rendition),
                _level(loud.integrated_lufs),
                _level(loud.range_lu),
                _level(loud.true_peak_dbtp),
                f"{loud.gain_db:+.1f}",
                _level(loud.result_lufs),
                _level(loud.result_dbtp),
                "peaks" if loud.limited else "",
            )
            for rendition, loud in programmes.values()
        ),
    )


def _level(value: float | None) -> str:
    return "silent" if value is None else f"{value:.1f}"


def planned_table(video: Sequence[VideoRendition], audio: Sequence[AudioRendition]) -> Table:
    """Lay out planned renditions as a table, with the rates asked of the encoders."""
    return table(
        ("rendition", "picture or sound", "profile", "level", ">target", ">cap", ">crf"),
        [
            *(
                (r.id, _summary(r), r.profile, r.level, kbps_text(r.average_bps), kbps_text(r.cap_bps), f"{r.crf:g}")
                for r in video
            ),
            *((r.id, _summary(r), "", "", kbps_text(r.bit_rate_bps), "", "") for r in audio),
        ],
    )


def _summary(rendition: VideoRendition | AudioRendition | TextRendition) -> str:
    if isinstance(rendition, TextRendition):
        return f"{rendition.language} {rendition.role}, {rendition.name}"
    if isinstance(rendition, AudioRendition):
        name = f", {rendition.name}" if rendition.name != rendition.language else ""
        return f"{rendition.layout} {rendition.language}{name}"
    return f"{rendition.width_px}x{rendition.height_px} {rate_text(rendition.frame_rate)}p {rendition.video_range}"
