"""Inspect a whole master: its tracks, and the time of each frame."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from encoder.probing import indexing
from encoder.probing.captions import has_captions_in_sample
from encoder.probing.edit_units import by_edit_units
from encoder.probing.indexing import IndexedMaster, adjust_for_intra_refresh
from encoder.probing.opening import (
    ANY_PICTURE,
    SOUND_CONTAINERS,
    Selected,
    check_complete,
    check_samples_complete,
    input_options,
    opened,
    pictures_of,
    select,
    time_base_of,
)
from encoder.probing.packets import check_hidden, note_sound
from encoder.probing.picture import video_track, with_formats
from encoder.probing.sound import sound_format_by_decoding, sound_track, subtitle_track
from encoder.sample_tables import read_movie
from encoder.subtitles.captions import CODECS
from encoder.timelines import edits, handovers, interleaving, pace, spans
from encoder.timelines.spans import PacketTimes
from headend.core.errors import MasterError
from headend.core.media import AudioTrack, Master, Probe, VideoTrack
from headend.core.media.speakers import channel_count
from headend.core.settings import PictureChoice


def probe(master: Master, input_url: str, choice: PictureChoice = ANY_PICTURE) -> Probe:
    """Probe a master: its tracks, and the time of each frame.

    MOV and MP4 have an index, so only the index and some first frames are read of a film in S3. Other containers are
    read once from start to end. Tracks that FFmpeg can't decode are left out.

    Args:
        master: The file; named in errors.
        input_url: Where to read it: a path, or an ``http(s)`` URL, which may contain a secret and appears in no error.
        choice: The picture to probe, if the master has several.

    Raises:
        MasterError: It can't be reached or read, is truncated, or has no picture.
        ConfigError: The chosen picture does not exist.
    """
    result, captions = _read(master, input_url, choice)
    result = replace(result, audio=tuple(_with_channels(track, master, input_url) for track in result.audio))
    track = result.video
    if track is not None and choice.video is None and result.container == "mpegts":
        others = [number for number in result.pictures if number != track.index]
        handovers.check_pictures(master, track, [(n, _first_packet_s(master, input_url, n)) for n in others])
    if track is None or track.codec not in CODECS:
        return result
    with opened(master, input_url) as container:
        stream = select(container, master, choice).picture
        for other in (*container.streams.audio, *container.streams.subtitles):
            other.discard = Discard.all
        if captions is None:
            captions = has_captions_in_sample(container, stream)
        frames = adjust_for_intra_refresh(container, stream, track.frames) if track.codec == "h264" else track.frames
    return replace(result, video=replace(track, captions=captions, frames=frames))


def _first_packet_s(master: Master, input_url: str, stream: int) -> Fraction:
    """When the first packet of a stream is shown; 0 if there is none."""
    with opened(master, input_url) as container:
        chosen = container.streams[stream]
        for other in container.streams:
            if other is not chosen:
                other.discard = Discard.all
        packets = (packet for packet in container.demux(chosen) if packet.size and packet.pts is not None)
        first = next(packets, None)
        return Fraction(0) if first is None else (first.pts or 0) * time_base_of(chosen)


def probe_sound(master: Master, input_url: str) -> Probe:
    """Probe a file for its sound: a film, or a file without picture, which is read once from start to end.

    Args:
        master: The file; named in errors.
        input_url: As for `probe`.

    Returns:
        The probe; its picture is None if the file has none.

    Raises:
        MasterError: It can't be reached or read, or has no sound.
    """
    with opened(master, input_url, SOUND_CONTAINERS) as container:
        has_picture = bool(pictures_of(container))
        result = None if has_picture else _read_sound(master, container)
    result = result or probe(master, input_url)
    if not result.audio:
        raise MasterError(f"{master.url} has no sound that can be decoded; deliver a file with a track of sound")
    return result


def _read_sound(master: Master, container: InputContainer) -> Probe:
    """Probe a file without picture by the times of its packets."""
    check_complete(container, master)
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if container.format.name.startswith("mov,"):
        movie = read_movie(container.name, container.size, input_options(container.name))
        for stream in streams:
            edits.check(master, stream.index, movie.edits(stream.id))
    codecs = {stream.index: stream.codec_context.codec.canonical_name for stream in streams}
    times: dict[int, PacketTimes] = {}
    for packet in container.demux(streams) if streams else ():
        note_sound(times, packet, codecs[packet.stream.index])
    check_samples_complete(container, master)
    check_hidden(container, master, {number: packets.hidden_ticks for number, packets in times.items()})
    return Probe(
        master=master,
        container=container.format.name,
        duration_s=Fraction(container.duration or 0, av.time_base),
        video=None,
        audio=tuple(sound_track(stream, times.get(stream.index), "packets") for stream in streams),
        subtitles=(),
    )


def _with_channels(track: AudioTrack, master: Master, input_url: str) -> AudioTrack:
    """Find a programme's channels by decoding, if they are unknown although it has packets."""
    if track.channels or not track.duration_s:
        return track
    with opened(master, input_url) as container:
        rate_hz, layout = sound_format_by_decoding(container, track.index)
    return replace(track, sample_rate_hz=rate_hz, layout=layout, channels=channel_count(layout))


def _read(master: Master, input_url: str, choice: PictureChoice) -> tuple[Probe, bool | None]:
    """Probe a master, and find out whether it has captions; None if that is still unknown."""
    # From the cheapest way to the one that always works. Each opens the container again, since seeking is not exact.
    for build in (_by_container_index, indexing.by_packets):
        with opened(master, input_url) as container:
            selected = select(container, master, choice)
            if indexed := build(container, selected.picture, master):
                return _describe(master, container, selected, indexed), indexed.captions
    with opened(master, input_url) as container:
        selected = select(container, master, choice)
        indexed = indexing.by_decoding(container, selected.picture, master)
        return _describe(master, container, selected, indexed), indexed.captions


def _by_container_index(container: InputContainer, picture: VideoStream, master: Master) -> IndexedMaster | None:
    """Build the frame index from the container's index; None if there is none, or it is incomplete."""
    check_complete(container, master)
    if container.format.name == "mxf":
        return by_edit_units(container, picture)
    if not container.format.name.startswith("mov,"):
        return None
    movie = read_movie(container.name, container.size, input_options(container.name))
    for stream in (picture, *container.streams.audio):
        edits.check(master, stream.index, movie.edits(stream.id))
    if any(movie.sample_entry_count(stream.id) > 1 for stream in (picture, *container.streams.audio)):
        return None  # only packets show where each sample entry is used
    return indexing.by_container_index(container, picture, master)


def _describe(master: Master, container: InputContainer, selected: Selected, indexed: IndexedMaster) -> Probe:
    selected_streams = selected.streams
    video = video_track(container, selected.picture, indexed.first, indexed.frames)
    video = replace(video, decoder_delay_s=indexed.delay_ticks * video.time_base)
    if video.pixel_format == "pal8":
        # AVI and MOV state the palette once, before the first frame: after a seek, there would be none.
        frames = video.frames
        video = replace(video, frames=replace(frames, keyframes=(0,), seek_ticks=frames.seek_ticks[:1]))
    decodable = [s for s in container.streams.audio if s.codec_context is not None and s.index in selected_streams]
    audio = tuple(sound_track(stream, indexed.sound.get(stream.index), indexed.frames.origin) for stream in decodable)
    # Shift the sound, not the picture: tasks seek by the decoder's times.
    audio = tuple(replace(track, start_s=track.start_s + video.decoder_delay_s) for track in audio)
    video = _with_end(with_formats(video, indexed.formats, master), audio)
    return Probe(
        master=master,
        container=container.format.name,
        duration_s=Fraction(container.duration or 0, av.time_base),
        video=video,
        audio=tuple(_with_speed_change(_with_rate_change(track, video), indexed, video, container) for track in audio),
        subtitles=tuple(
            subtitle_track(stream, indexed.text.get(stream.index, ()))
            for stream in container.streams.subtitles
            if stream.index in selected_streams
        ),
        program=selected.program,
        programs=selected.programs,
        pictures=selected.pictures,
    )


def _with_end(video: VideoTrack, audio: tuple[AudioTrack, ...]) -> VideoTrack:
    """Make a single picture last as long as the sound, unless its own duration is longer."""
    if video.frame_count > 1 or not audio:
        return video
    end_s = max(video.end_s, *(track.start_s + track.duration_s for track in audio))
    return replace(video, frames=replace(video.frames, end_ticks=int(end_s / video.time_base)))


def _with_rate_change(track: AudioTrack, video: VideoTrack) -> AudioTrack:
    """Add a change of sample rate, which shows when sound and picture differ in length."""
    if track.timeline is None or track.timeline.changes:
        return track
    change = pace.rate_by_break(track.timeline, track.sample_rate_hz, start_s=video.start_s, end_s=video.end_s)
    return track if change is None else replace(track, timeline=replace(track.timeline, changes=(change,)))


def _with_speed_change(
    track: AudioTrack, indexed: IndexedMaster, video: VideoTrack, container: InputContainer
) -> AudioTrack:
    """Add a change of speed: a place after which PCM sound drifts away from the picture that it is interleaved with."""
    packets = indexed.sound.get(track.index)
    if packets is None or track.timeline is None or track.timeline.changes or not indexed.positions:
        return track
    if not spans.frame_bytes(track.codec, track.channels) or not track.timeline.even:
        return track
    stream = container.streams[track.index]
    picture_positions, picture_ticks = np.asarray(indexed.positions, np.int64).T
    change = interleaving.change(
        np.asarray(packets.positions, np.int64),
        (np.asarray(packets.pts_ticks, np.float64) - packets.pts_ticks[0]) * float(time_base_of(stream)),
        picture_positions,
        (picture_ticks - picture_ticks[0]).astype(np.float64) * float(video.time_base),
    )
    if change is None:
        return track
    change = replace(change, at_s=change.at_s + video.start_s)
    return replace(track, timeline=replace(track.timeline, changes=(change,)))
