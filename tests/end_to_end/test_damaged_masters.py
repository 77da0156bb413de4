"""Cut and garbled masters: a clear refusal or an exact film, never a hang, a traceback or half a release."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from encoder import planning, probing, sandbox, tool
from encoder.conforming import conform
from encoder.encoding import encode, output
from headend.core.errors import HeadendError, MasterError
from headend.core.media import Effort, Kind, Probe
from headend.core.settings import EncodeSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.timing import ceil_div
from ladders.fitting import fit
from ladders.loading import load
from packager.segmenting.video import cut_video
from tests.support.marks import first, repeated
from tests.support.masters import Sound, make_film, master_of

FILMS = {
    "mp4": ("libx264", ("-preset", "ultrafast", "-g", "12"), (Sound(),)),
    "mkv": ("libx264", ("-preset", "ultrafast", "-g", "12"), (Sound(),)),
    "ts": ("mpeg2video", ("-g", "12", "-bf", "2"), (Sound(codec="mp2"),)),
    "mxf": ("mpeg2video", ("-g", "12"), ()),
}
MUTATIONS = 60
ENCODED = 6


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def flip_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def flip_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(4):
        data[rng.randrange(min(2048, len(data)))] = rng.randrange(256)


def flip_index(data: bytearray, rng: random.Random) -> None:
    for _ in range(4):
        data[-rng.randrange(1, min(4096, len(data)))] = rng.choice((0, 0xFF, rng.randrange(256)))


def blank(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randrange(1, 4096)
    data[at : at + length] = bytes(len(data[at : at + length]))


def repeat(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randrange(1, 4096)
    data[at:at] = data[at : at + length]


def remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 4096)]


KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    cut_short, flip_bytes, flip_header, flip_index, blank, repeat, remove
)  # fmt: skip


def mutants(whole: bytes, seed: str) -> Iterator[tuple[str, bytes]]:
    for number in range(MUTATIONS):
        rng = random.Random(f"{seed}-{number}")
        kind = KINDS[number % len(KINDS)]
        data = bytearray(whole)
        kind(data, rng)
        yield f"{kind.__name__}-{number}", bytes(data)


@pytest.mark.parametrize("suffix", first(2, FILMS))
def test_a_damaged_master_is_refused_clearly_or_encoded_exactly(suffix: str, tmp_path: Path) -> None:
    codec, args, sound = FILMS[suffix]
    film = make_film(
        tmp_path / f"whole.{suffix}", frame_count=50, size=(320, 180), codec=codec, codec_args=args, sound=sound
    )
    encoded = refused = 0
    for name, data in mutants(film.read_bytes(), suffix):
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(data or b"\0")
        try:
            probe = probing.probe(master_of(path), str(path))
        except MasterError as error:
            assert str(path) in error.message, name
            refused += 1
            continue
        assert probe.video is not None
        assert probe.video.frame_count < 10_000, name
        if encoded < ENCODED:
            encoded += 1
            encode_a_chunk(probe, path, tmp_path / name)
    assert refused + encoded >= ENCODED


def encode_a_chunk(probe: Probe, path: Path, scratch: Path) -> None:
    """Run one task of the damaged master's plan: all its frames are there, or the task says why not."""
    scratch.mkdir()
    ladder = load("smoke")
    try:
        conformed = conform(planning.checked_picture(probe))
        fitted = fit(ladder, probe, frame_rate=conformed.frame_rate)
        plan = planning.Draft(
            "film",
            probe,
            conformed,
            planning.Renditions(ladder.name, tuple(r for r in fitted.video if r.default), fitted.audio),
            settings=EncodeSettings(Fraction(1), Fraction(1), Effort.DRAFT),
            tool=tool.version(),
            tool_digest=tool.digest(),
        ).with_tasks(workers=1)
        task = next(task for task in plan.tasks if task.kind is Kind.VIDEO)
        encode(task, input_url=str(path), scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None)
        (rendition,) = plan.video
        cut = cut_video(
            memoryview(bytearray(output(scratch, rendition.id).read_bytes())),
            rendition=rendition.id,
            grid=plan.grid,
            chunk=task.chunk,
            rate_divisor=rendition.rate_divisor,
        )
    except HeadendError:
        return
    assert sum(part.samples for part in cut.track.segments) == ceil_div(task.chunk.frame_count, rendition.rate_divisor)


def test_a_master_that_crashes_its_demuxer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=30)
    monkeypatch.setattr(sandbox, "__name__", "faulthandler_is_no_program")
    with pytest.raises(MasterError, match=r"the probe ended .* failed \(.*faulthandler_is_no_program"):
        sandbox.probe(master_of(film), str(film))


def test_a_crash_of_the_probe_is_reported_as_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=30)
    monkeypatch.setattr(sandbox, "__name__", "tests.support.crashing")
    with pytest.raises(MasterError, match=r"crashed \(SIGABRT\); this is a fault of headend or of its FFmpeg"):
        sandbox.probe(master_of(film), str(film))


@pytest.mark.parametrize("suffix", ["mp4", repeated("ts")])
def test_a_gap_in_the_film_leaves_no_release_and_no_traceback(suffix: str, tmp_path: Path) -> None:
    codec, args, sound = FILMS[suffix]
    film = make_film(
        tmp_path / f"whole.{suffix}", frame_count=75, size=(320, 180), codec=codec, codec_args=args, sound=sound
    )
    data = film.read_bytes()
    broken = tmp_path / f"broken.{suffix}"
    broken.write_bytes(data[: len(data) * 2 // 3])  # an MP4 loses its index, a transport stream just ends
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-m", "headend", "submit", str(broken), "--title", "film", "--ladder", "smoke", "--json",
         "--store", str(store), "--workers", "1", "--effort", "draft", "--only-codecs", "avc,aac"],
        capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    keys = [info.key for info in open_store(StoreSettings(str(store))).list("titles/")] if store.exists() else []
    if suffix == "mp4":
        assert done.returncode == 3, done.stderr
        assert keys == []
    else:
        # The rest is either a complete, shorter film, or it is refused.
        assert (done.returncode == 0) == any(key.endswith("current.json") for key in keys), done.stderr
        assert done.returncode in (0, 3, 4)
