"""Build the commands that encode sound: one decode of a whole programme, many encoders.

Source: FFmpeg's documentation, sections "Audio Filters" and "mov, mp4, ismv" (muxer options).
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import ffmpeg
from langcodes import Language
from langcodes.tag_parser import LanguageTagError

from encoder import filter_graphs, timestamps
from encoder.command import CONCEALMENT, FRAGMENTS, GLOBAL, MASTER, PROGRAM, SCRATCH, source_options
from encoder.families import AUDIO, LOUDNESS, Options
from encoder.loudness import CEILING_DBTP, MAX_REDUCTION_DB, dialnorm_placeholder, level_placeholder, limiter, meter
from encoder.probing import CONTAINERS
from encoder.sound.mixing import pan
from encoder.timelines import policy
from headend.core.media import AudioPart, AudioRendition, AudioTrack, LoudnessTarget, Master
from headend.core.media.speakers import LAYOUTS
from headend.core.timing import SOUND_TAIL_SAMPLES, Grid

_TEMPORARY_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Layouts of picked channels until they are mixed by their positions: FFmpeg can't join channels without names."""
MIN_GAP_S = 0.01
"""Minimum length of a gap that is filled with silence; shorter ones come from times that are rounded to
milliseconds."""


def language_code(tag: str) -> str:
    """Convert a BCP 47 tag to ISO 639-2/T as in MP4's ``mdhd``; ``und`` if there is no such code."""
    try:
        return Language.get(tag).to_alpha3(variant="T")
    except (LookupError, LanguageTagError):
        return "und"


def audio_command(
    master: Master,
    track: AudioTrack,
    grid: Grid,
    start_s: Fraction,
    renditions: Sequence[AudioRendition],
    *,
    conceal: bool = False,
    compressed: bool = False,
    containers: str = CONTAINERS,
) -> tuple[str, ...]:
    """Build the command that encodes a whole programme of sound into all its renditions.

    The sound is put on the picture's timeline. Sound before the first frame is cut; if the sound starts late or ends
    early, silence is added, so that every rendition has the duration of the picture. Placeholders stand for the level.
    They are replaced after the command of `loudness_target` has measured the loudness.

    Args:
        master: The file; only its location is used.
        track: The programme.
        grid: The title's grid.
        start_s: When the master shows its first frame.
        renditions: At least one, all of this programme.
        conceal: Whether to replace sound that can't be decoded with silence.
        compressed: Whether to apply the dynamic range compression of AC-3 and E-AC-3.
        containers: FFmpeg's names of the containers that the file may have.

    Returns:
        Arguments with placeholders, and one output for each rendition, named by its id.

    Raises:
        MasterError: The channel layout is unknown.
    """
    outputs = []
    mixes = _mix(
        master, track, grid, start_s, renditions, conceal=conceal, compressed=compressed, containers=containers
    )
    for layout, mixed in mixes.items():
        levelled = mixed.filter(level_placeholder(layout))
        group = [rendition for rendition in renditions if rendition.layout == layout]
        for rendition, copy in zip(group, filter_graphs.copies(levelled, len(group), "asplit"), strict=True):
            options: Options = {
                **AUDIO[rendition.codec](rendition),
                **(LOUDNESS[rendition.codec](dialnorm_placeholder(layout)) if rendition.codec in LOUDNESS else {}),
                **FRAGMENTS,
                "flags:a": "+bitexact",
                # Long fragments: the packager splits them at the codec frames nearest to the picture's segments.
                "frag_duration": 60_000_000,
                # The edit list tells players how many samples of priming to drop.
                "use_editlist": 1,
                "metadata:s:a:0": f"language={language_code(rendition.language)}",
            }
            outputs.append(ffmpeg.output(copy, f"{SCRATCH}/{rendition.id}.mp4", **options))
    return _argv(outputs, conceal=conceal)


def loudness_target(
    master: Master,
    track: AudioTrack,
    grid: Grid,
    start_s: Fraction,
    renditions: Sequence[AudioRendition],
    target_lufs: float | None,
    *,
    conceal: bool = False,
    compressed: bool = False,
    containers: str = CONTAINERS,
) -> LoudnessTarget:
    """Build the command that measures the loudness of each layout, mixed as in `audio_command`.

    Args:
        master: As for `audio_command`, like the next four.
        track: The programme.
        grid: The title's grid.
        start_s: When the master shows its first frame.
        renditions: At least one, all of this programme.
        target_lufs: Target for the integrated loudness; None to keep the master's loudness.
        conceal: As for `audio_command`.
        compressed: As for `audio_command`.
        containers: As for `audio_command`.

    Raises:
        MasterError: The channel layout is unknown.
    """
    mixes = _mix(
        master, track, grid, start_s, renditions, conceal=conceal, compressed=compressed, containers=containers
    )
    metered = [mixed.filter(meter(layout), peak="true", framelog="quiet") for layout, mixed in mixes.items()]
    argv = _argv([ffmpeg.output(stream, "-", f="null") for stream in metered], conceal=conceal)
    return LoudnessTarget(
        # The filter prints its summaries at this log level; progress still goes to standard output.
        argv=tuple("info" if before == "-loglevel" else word for before, word in pairwise(("", *argv))),
        layouts=tuple(rendition.layout for rendition in renditions),
        mixed=tuple(layout for layout in mixes if pan(track, layout)[1]),
        target_lufs=target_lufs,
        ceiling_dbtp=CEILING_DBTP,
        reduction_db=MAX_REDUCTION_DB,
        limiter=limiter(renditions[0].sample_rate_hz),
    )


def _argv(outputs: Iterable[Any], *, conceal: bool) -> tuple[str, ...]:
    concealment = CONCEALMENT if conceal else ()
    return PROGRAM, *GLOBAL, *concealment, *filter_graphs.arguments(ffmpeg.merge_outputs(*outputs))


def _mix(
    master: Master,
    track: AudioTrack,
    grid: Grid,
    start_s: Fraction,
    renditions: Sequence[AudioRendition],
    *,
    conceal: bool,
    compressed: bool,
    containers: str,
) -> dict[str, Any]:
    """Decode the programme once, put it on the picture's timeline, and mix it to each layout."""
    rate = renditions[0].sample_rate_hz
    total_samples = round(grid.duration_s * rate)
    source = ffmpeg.input(MASTER, **source_options(master, containers), **_input_options(track, compressed=compressed))
    whole = AudioPart(track.index, track.channels, track.start_s, track.timeline)
    parts = {part.index: part for part in track.parts or (whole,)}
    picked = _channels_to_pick(track)
    placed = [
        _place_on_timeline(
            _pick_channels(source[str(index)], picked.get(index)), part, start_s, rate, total_samples, conceal=conceal
        )
        for index, part in parts.items()
    ]
    sound = _join(placed, track, picked)
    layouts = sorted({rendition.layout for rendition in renditions})
    branches = zip(layouts, filter_graphs.copies(sound, len(layouts), "asplit"), strict=True)
    return {layout: branch.filter("pan", args=pan(track, layout)[0]) for layout, branch in branches}


def _input_options(track: AudioTrack, *, compressed: bool) -> dict[str, Any]:
    """Options of the input and its decoders."""
    # If channels or sample rate change, FFmpeg would restart its filters and count samples from 0. With this option it
    # fails instead. AC-3's downmix parameters may change, but they are not used.
    options: dict[str, Any] = {"reinit_filter": 0}
    if track.codec in ("ac3", "eac3"):
        # Their frames have checksums. If these are not checked, the decoder outputs most damage as sound.
        options |= {f"err_detect:{part.index}": "crccheck" for part in track.parts or (track,)}
    if track.codec in ("ac3", "eac3") and not compressed:
        # By default FFmpeg's decoder compresses for small rooms (ETSI TS 102 366, 7.7).
        options |= {f"drc_scale:{part.index}": 0 for part in track.parts or (track,)}
    return options


def _channels_to_pick(track: AudioTrack) -> dict[int, list[int]]:
    """The channels to pick from each stream, in the order of the programme; empty to keep the stream's channels.

    If the channels have a custom order, they are all picked, because filters would misread that order.
    """
    if not track.parts:
        return {} if track.layout in LAYOUTS else {track.index: list(range(track.channels))}
    picked: dict[int, list[int]] = {}
    for part in track.parts:
        picked.setdefault(part.index, []).extend(range(part.channels) if part.channel is None else [part.channel])
    return picked


def _pick_channels(sound: Any, channels: Sequence[int] | None) -> Any:
    if channels is None:
        return sound
    layout = _TEMPORARY_LAYOUTS.get(len(channels), f"{len(channels)}C")
    return sound.filter("channelmap", map="|".join(map(str, channels)), channel_layout=layout)


def _join(streams: Sequence[Any], track: AudioTrack, picked: Mapping[int, Sequence[int]]) -> Any:
    """Join streams to a single one with the channels of the programme, in order."""
    if len(streams) == 1:
        return streams[0]
    next_channels = {index: iter(range(len(channels))) for index, channels in picked.items()}
    inputs = list(picked)
    sources = [
        f"{inputs.index(part.index)}.{next(next_channels[part.index])}"
        for part in track.parts
        for _ in range(part.channels)
    ]
    channel_map = "|".join(f"{source}-{name}" for source, name in zip(sources, LAYOUTS[track.layout], strict=True))
    return ffmpeg.filter(streams, "join", inputs=len(streams), channel_layout=track.layout, map=channel_map)


def _place_on_timeline(
    sound: Any, part: AudioPart, start_s: Fraction, rate: int, total_samples: int, *, conceal: bool
) -> Any:
    late_samples = round((part.start_s - start_s) * rate)
    resampling = policy.resampling_options(part.timeline, rate)
    if conceal:
        resampling = {"async": 1, **resampling, "min_hard_comp": MIN_GAP_S}
    sound = sound.filter("aresample", rate)
    if resampling:
        # Place samples by their times, starting at ``first_pts``. That counts samples of the filter's input, so the
        # rate has been converted before.
        sound = sound.filter("aresample", first_pts=round(part.start_s * rate), **resampling)
    sound = timestamps.numbered_samples(sound, rate)
    # Mixes may exceed full scale until their level is set.
    sound = sound.filter("aformat", sample_fmts="fltp")
    if late_samples > 0:
        sound = sound.filter("adelay", f"{late_samples}S", all=1)
    elif late_samples < 0:
        sound = timestamps.numbered_samples(sound.filter("atrim", start_sample=-late_samples), rate)
    return sound.filter("atrim", end_sample=total_samples).filter("apad", whole_len=total_samples + SOUND_TAIL_SAMPLES)
