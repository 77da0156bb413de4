"""One task, planned from a real film and run in this process, without a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from encoder import encoding, probing
from encoder.command import SourcePicture, VideoCommands
from encoder.conforming import conform
from encoder.picture.colour import complete_colour
from encoder.sound.command import audio_command, loudness_target
from headend.core.media import AudioRendition, AudioTrack, Effort, EncodeTask, Kind, Probe, VideoRendition, VideoTrack
from headend.core.timing import Chunk, Grid, plan_grid
from tests.support.masters import master_of

SECOND = Fraction(1)


@dataclass(frozen=True, slots=True)
class Film:
    """A probed film and its grid."""

    path: Path
    probe: Probe
    grid: Grid

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self.grid.chunks()


def probe_film(path: Path, *, segment_s: Fraction = SECOND, chunk_s: Fraction = SECOND) -> Film:
    """Probe a film and lay its grid; segments and chunks last a second by default."""
    probe = probing.probe(master_of(path), str(path))
    assert probe.video is not None
    grid = plan_grid(probe.video.frame_rate, probe.video.frame_count, segment_s=segment_s, chunk_s=chunk_s)
    return Film(path, probe, grid)


def picture_of(track: VideoTrack) -> SourcePicture:
    """Return the picture from which every rendition starts, according to its flags."""
    return SourcePicture(conform(track), complete_colour(track)[0])


def commands_of(film: Film, effort: Effort = Effort.DRAFT) -> VideoCommands:
    """Return the commands that encode a film's chunks."""
    assert film.probe.video is not None
    return VideoCommands(film.probe.master, picture_of(film.probe.video), film.grid, effort)


def encode_chunk(
    film: Film,
    chunk: Chunk,
    renditions: Sequence[VideoRendition],
    scratch: Path,
    *,
    effort: Effort = Effort.DRAFT,
) -> dict[str, bytes]:
    """Encode a chunk of a film as a worker does; returns the encoder's files by rendition."""
    argv = commands_of(film, effort).encode(chunk, renditions)
    return carry_out(task_of(argv, [r.id for r in renditions], chunk), film.path, scratch)


def encode_sound(
    film: Film,
    renditions: Sequence[AudioRendition],
    scratch: Path,
    *,
    track: AudioTrack | None = None,
    target_lufs: float | None = None,
) -> dict[str, bytes]:
    """Encode a film's first programme of sound, or ``track``; without a loudness target by default."""
    return carry_out(sound_task(film, renditions, track=track, target_lufs=target_lufs), film.path, scratch)


def sound_task(
    film: Film,
    renditions: Sequence[AudioRendition],
    *,
    track: AudioTrack | None = None,
    target_lufs: float | None = None,
) -> EncodeTask:
    """Return the task of `encode_sound`."""
    assert film.probe.video is not None
    place = film.probe.master, track or film.probe.audio[0], film.grid, film.probe.video.start_s, renditions
    whole = Chunk(0, 0, film.grid.frame_count, 1)
    task = task_of(audio_command(*place), [r.id for r in renditions], whole, Kind.AUDIO)
    return replace(task, loudness_target=loudness_target(*place, target_lufs))


def task_of(
    argv: Sequence[str], renditions: Sequence[str], chunk: Chunk | None = None, kind: Kind = Kind.VIDEO
) -> EncodeTask:
    return EncodeTask("t1", kind, chunk or Chunk(0, 0, 1, 1), tuple(renditions), tuple(argv), cost=1.0)


def carry_out(task: EncodeTask, film: Path, scratch: Path) -> dict[str, bytes]:
    scratch.mkdir(exist_ok=True)
    encoding.encode(task, input_url=str(film), scratch=scratch, cancelled=lambda: False, on_frames=lambda _frames: None)
    return {rendition: encoding.output(scratch, rendition).read_bytes() for rendition in task.renditions}
