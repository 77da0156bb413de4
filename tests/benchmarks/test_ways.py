"""All compared encoders do the same work."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from benchmarks import ways
from benchmarks.shaka_shim import rewrite
from headend.core.media import Effort
from tests.support.masters import make_film

FRAMES = 96


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ways.Job:
    folder = tmp_path_factory.mktemp("master")
    film = make_film(folder / "film.mp4", frame_rate=Fraction(24), frame_count=FRAMES, size=(640, 360))
    return ways.job_for(film, "smoke", lambda _: True, Effort.DRAFT)


def frames(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        with av.open(str(path)) as file:
            count += sum(1 for packet in file.demux(video=0) if packet.size)
    return count


def test_headend_encodes_each_chunk_as_one_task(job: ways.Job, tmp_path: Path) -> None:
    done = ways.headend(job, tmp_path, slots=2)
    assert len(job.plan.tasks) == 2
    assert done.cpu_s > 0
    for rendition in job.renditions:
        assert frames(tmp_path.glob(f"*/{rendition.id}.mp4")) == FRAMES // rendition.rate_divisor


@pytest.mark.heavy
def test_peers_encode_every_frame_into_every_rendition(job: ways.Job, tmp_path: Path) -> None:
    ready = ways.write_raw_frames(job, tmp_path)
    for name, way in {
        "together": lambda to: ways.single_process(job, to),
        "apart": lambda to: ways.process_per_rendition(job, to, 2),
        "ready": lambda to: ways.encode_raw_frames(job, ready, to),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        way(folder)
        counts = {path.stem: frames([path]) for path in folder.iterdir()}
        assert counts == {rendition.id: FRAMES for rendition in job.renditions}


def test_peers_get_headends_own_encoder_options(job: ways.Job) -> None:
    for rendition in job.renditions:
        words = job.options[rendition.id]
        assert words[words.index("-crf") + 1] == str(rendition.crf)
        assert "-movflags" in words
        assert "-movflags" not in job.encoder_options[rendition.id]


def test_shim_replaces_the_encoders_options_and_nothing_else() -> None:
    head = ["-y", "-i", "film.mov"]
    first = ["-map", "0:v:0", "-preset", "slow", "-flags", "+loop", "-an", "-c:v", "h264", "-b:v", "3000k"]
    first += ["-f", "mp4", "-movflags", "+frag_keyframe", "-g", "48", "-vf", "scale=-2:720,setsar=1:1", "pipe-1"]
    second = ["-map", "0:v:0", "-c:v", "av1", "-cpu-used", "8", "-vf", "scale=-2:360,setsar=1:1", "pipe-2"]
    options = {"h264:720": ["-c:v", "libx264", "-crf", "22"], "av1:360": ["-c:v", "libsvtav1"]}
    assert rewrite(head + first + second, options) == [
        *head,
        *["-map", "0:v:0", "-an", "-f", "mp4", "-movflags", "+frag_keyframe", "-vf", "scale=-2:720,setsar=1:1"],
        *["-c:v", "libx264", "-crf", "22", "pipe-1"],
        *["-map", "0:v:0", "-vf", "scale=-2:360,setsar=1:1", "-c:v", "libsvtav1", "pipe-2"],
    ]


def test_shim_leaves_commands_without_outputs_alone() -> None:
    assert rewrite(["-version"], {}) == ["-version"]
