"""``headend probe``: show what is in a master."""

from typing import Any

import click

from headend.app import deciding
from headend.app.cli import encode_options, options
from headend.app.cli.screen import console, facts, print_json, table
from headend.app.cli.wording import clock_text, count_text, kbps_text, rate_text
from headend.core import documents
from headend.core.media import Probe, VideoTrack
from headend.core.settings import PictureChoice, StoreSettings


@click.command(
    "probe",
    epilog=options.examples(
        "headend probe film.mov",
        "headend probe s3://masters/film.mxf --s3-endpoint http://127.0.0.1:9000",
        "headend probe film.mov --json | jq .video.frame_count",
    ),
)
@options.master
@options.endpoint
@encode_options.picture
@options.common
def command(master: str, endpoint_url: str | None, picture: PictureChoice, as_json: bool) -> None:
    """Show what is in a master.

    Shows the exact frame rate and count, keyframes, colour and HDR metadata, field order, rotation and pixel shape,
    and every track of sound and text. Only the first frame is decoded; of an object in S3, only its index and that
    frame are read if the container allows it.
    """
    probe = deciding.inspect(master, StoreSettings(endpoint_url=endpoint_url), choice=picture)
    if as_json:
        print_json(probe_plain(probe))
    else:
        _show(probe)


def probe_plain(probe: Probe) -> dict[str, Any]:
    """Return a probe as a JSON document, with counts of frames and cues instead of their times."""
    plain: dict[str, Any] = documents.as_plain(probe)
    if probe.video is not None:
        frames = plain["video"].pop("frames")
        plain["video"] |= {
            "frame_count": probe.video.frame_count,
            "keyframes": frames["keyframes"],
            "index_origin": frames["origin"],
        }
    for text in plain["subtitles"]:
        text["cue_count"] = len(text.pop("times_ms"))
    return plain


def _show(probe: Probe) -> None:
    screen = console()
    screen.print(
        facts(
            [
                ("master", probe.master.url),
                ("file", f"{probe.master.size_bytes:,} bytes, {probe.master.digest}"),
                ("container", f"{probe.container}, {clock_text(float(probe.duration_s))}"),
                *_programs(probe),
                *(_picture(probe.video) if probe.video else [("picture", "none")]),
            ]
        )
    )
    if probe.audio:
        screen.print()
        screen.print(
            table(
                (">stream", "sound", ">Hz", "channels", "language", "title", "roles", ">starts", ">lasts", ">rate"),
                (
                    (
                        a.index,
                        _codec(a.codec, a.profile),
                        f"{a.sample_rate_hz:,}",
                        f"{a.channels} ({a.layout})" if a.channels else "empty",
                        a.language,
                        a.title,
                        ", ".join([*a.roles, *["default"] * a.default]),
                        f"{float(a.start_s):.3f} s",
                        f"{float(a.duration_s):.3f} s",
                        _rate(a.bit_rate_bps),
                    )
                    for a in probe.audio
                ),
            )
        )
    if probe.subtitles:
        screen.print()
        screen.print(
            table(
                (">stream", "text", "language", "title", "roles"),
                (
                    (s.index, s.codec, s.language, s.title, ", ".join([*s.roles, *["default"] * s.default]))
                    for s in probe.subtitles
                ),
            )
        )


def _programs(probe: Probe) -> list[tuple[str, str]]:
    rows = []
    if len(probe.programs) > 1:
        rows.append(("program", f"{probe.program} of {', '.join(map(str, probe.programs))}; see --program"))
    if probe.video is not None and len(probe.pictures) > 1:
        rows.append(("pictures", f"{', '.join(map(str, probe.pictures))}; see --video"))
    return rows


def _picture(video: VideoTrack) -> list[tuple[str, str]]:
    colour = video.colour
    exact = f" ({video.frame_rate})" if video.frame_rate.denominator > 1 else ""
    rows = [
        ("picture", f"stream {video.index}, {_codec(video.codec, video.profile)}, {_rate(video.bit_rate_bps)}"),
        (
            "shape",
            f"{video.width_px}x{video.height_px}, pixels {video.sample_aspect_ratio.numerator}:"
            f"{video.sample_aspect_ratio.denominator}, rotated {video.rotation_deg}°"
            f"{', mirrored' if video.mirrored else ''}",
        ),
        ("samples", f"{video.pixel_format}, {video.bit_depth} bit, {video.field_order}"),
        (
            "colour",
            f"{video.video_range}: primaries {colour.primaries}, transfer {colour.transfer}, matrix {colour.matrix}, "
            f"range {colour.range}, chroma {colour.chroma_location}",
        ),
        (
            "frames",
            f"{video.frame_count:,} at {rate_text(video.frame_rate)} frames/s{exact}, "
            f"{'constant' if video.constant_rate else 'variable'}, starts at {float(video.start_s):.3f} s",
        ),
        ("keyframes", f"{count_text(len(video.frames.keyframes), 'keyframe')}, from {video.frames.origin}"),
    ]
    if video.dolby_vision:
        rows.append(("Dolby Vision", f"profile {video.dolby_vision}"))
    if video.captions:
        rows.append(("captions", "CEA-608 beside the frames"))
    if clean := video.clean_aperture:
        rows.append(("seen", f"{clean.width_px}x{clean.height_px} at {clean.left_px},{clean.top_px} (clean aperture)"))
    if light := video.content_light:
        rows.append(("light", f"MaxCLL {light.max_cll_nits}, MaxFALL {light.max_fall_nits} cd/m²"))
    if display := video.mastering_display:
        rows.append(("mastered on", f"{float(display.min_nits):g} to {float(display.max_nits):g} cd/m²"))
    return rows


def _codec(codec: str, profile: str) -> str:
    return f"{codec} {profile}".rstrip()


def _rate(rate_bps: int) -> str:
    return kbps_text(rate_bps) if rate_bps else "rate not stated"
