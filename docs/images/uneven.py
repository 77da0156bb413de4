"""Write the table of masters whose time does not run evenly into `docs/masters.md`, and a picture for each.

``python docs/images/uneven.py`` makes each master, encodes it as `tests/end_to_end/test_uneven_time.py` does, and
measures what comes out.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

from headend.errors import MasterError
from tests.support import uneven_masters as made_as
from tests.support.deliveries import Delivered, deliver
from tests.support.masters import Sound, make_sound, run_ffmpeg

HERE = Path(__file__).parent
PAGE = HERE.parent / "masters.md"
BEGIN, END = "<!-- uneven, measured by docs/images/uneven.py -->", "<!-- end of uneven -->"
JUMP = r"TS+gte(TS*TB\,2)*0.4/TB"
BACK = r"TS-gte(TS*TB\,1.7)*0.3/TB"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of master, and how it is made in a folder."""

    name: str
    about: str
    make: Callable[[Path], Path]


def _film(folder: Path, codec: str = "aac", suffix: str = ".mkv") -> Path:
    return made_as.beeping(folder / f"film{suffix}", codec)


def _twice(folder: Path) -> Path:
    film = _film(folder, suffix=".ts")
    film.write_bytes(made_as.beeping(folder / "bumper.ts", frame_count=25).read_bytes() + film.read_bytes())
    return film


def _edited(folder: Path) -> Path:
    film = _film(folder, "pcm_s16le", ".mov")
    return made_as.with_edits(film, [(1000, 0, 1.0), (500, None, 1.0), (1000, 25600, 1.0)])


def _still(folder: Path) -> Path:
    picture = made_as.beeping(folder / "one.mkv", frame_count=1)
    return made_as.with_sound_of(folder / "still.mp4", picture, _film(folder), picture_s=4)


def _held(folder: Path) -> Path:
    picture = made_as.beeping(folder / "half.mkv", frame_count=50)
    return made_as.with_sound_of(folder / "held.mp4", picture, _film(folder), picture_s=4)


def _six_then_two(folder: Path) -> Path:
    film = _film(folder, "ac3", ".ts")
    six = make_sound(folder / "six.ac3", sound=(Sound(layout="5.1", codec="ac3"),))
    two = run_ffmpeg("-i", str(film), "-map", "0:a", "-c", "copy", "-f", "ac3", "-")
    (folder / "both.ac3").write_bytes(two + six.read_bytes())
    return made_as.with_sound_of(folder / "changing.ts", film, folder / "both.ac3", picture_s=4)


KINDS = (
    Kind("hole in the sound", "packets of AAC are missing for 0.45 s in MP4",
         lambda d: made_as.without_sound(d / "gap.mp4", _film(d), (0.7, 1.15))),
    Kind("long hole", "the same for 1.5 s", lambda d: made_as.without_sound(d / "gap.mp4", _film(d), (0.7, 2.2))),
    Kind("sound that drifts", "time stamps run 1 % slower than samples",
         lambda d: made_as.with_times(d / "drift.mkv", _film(d), sound="TS*1.01")),
    Kind("sound that is there twice", "time stamps go back by 0.3 s",
         lambda d: made_as.with_times(d / "twice.ts", _film(d), sound=BACK)),
    Kind("jump forward", "picture and sound jump by 0.4 s",
         lambda d: made_as.with_times(d / "jump.mkv", _film(d), sound=JUMP, picture=JUMP)),
    Kind("times begin again", "a bumper, then the film from 0", _twice),
    Kind("one late picture", "the last of 100 pictures comes 15 ms late",
         lambda d: made_as.with_times(d / "late.mkv", _film(d), picture=r"TS+gte(TS*TB\,3.95)*0.015/TB")),
    Kind("edit list with a pause", "two stretches, and half a second of nothing between them", _edited),
    Kind("still", "one picture that lasts 4 s", _still),
    Kind("held last picture", "50 pictures, of which the last lasts for 2 s", _held),
    Kind("other size on the way", "160x90, from 2.4 s on 128x72",
         lambda d: made_as.joined_pictures(d / "joined.ts", (60, "scale=160:90"), (40, "scale=128:72"))),
    Kind("other channels on the way", "AC-3 stereo, then 5.1", _six_then_two),
)  # fmt: skip


def main() -> None:
    """Measure all kinds, and write the table and the pictures."""
    rows = ["| master | what is decided | measured | |", "|---|---|---|---|"]
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            master = kind.make(folder)
            try:
                made = deliver(master, folder / "made")
            except MasterError as error:
                told = error.message.replace(f"{master}", "film")
                rows.append(f"| **{kind.name}**: {kind.about} | refused: “{told}” | | |")
                continue
            (HERE / "masters").mkdir(exist_ok=True)
            slug = "-".join(kind.name.split())
            _keep_picture(folder / "made", HERE / "masters" / f"uneven-{slug}.jpg")
            decided = "; ".join(f"“{line}”" for line in made.plan.decisions if _is_about_time(line)) or "—"
            picture = f"![{kind.name}](images/masters/uneven-{slug}.jpg)"
            rows.append(f"| **{kind.name}**: {kind.about} | {decided} | {_measured(made)} | {picture} |")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{after}", encoding="utf-8")


def _is_about_time(line: str) -> bool:
    return not any(word in line for word in ("colour", "rung", "loudness", "keyframe"))


def _measured(made: Delivered) -> str:
    known = [number for number in made.numbers if number is not None]
    repeats = sum(here == after for here, after in pairwise(known))
    text = f"{len(known)} frames at {float(made.rate):g}"
    text += f", {repeats} of them repeats" if repeats else ", each picture once"
    if made.samples.size:
        wanted = [made.shown_s(round(at * made_as.RATE)) for at in made_as.BEEPS_S if round(at * made_as.RATE) in known]
        off_ms = [1000 * (beep - shown) for beep, shown in zip(made.beeps_s, wanted, strict=False)]
        text += f"; beeps at {', '.join(f'{beep:.2f}' for beep in made.beeps_s)} s"
        together = len(off_ms) == len(made.beeps_s) and max(map(abs, off_ms)) < 1000 / made_as.RATE
        text += f", at most {max(map(abs, off_ms)):.0f} ms from their pictures" if together else ""
    return text


def _keep_picture(folder: Path, path: Path) -> None:
    (first,) = sorted(folder.glob("avc-*.mp4"))[:1]
    with av.open(str(first)) as container:
        for frame in container.decode(video=0):
            frame.to_image().resize((160, 90)).save(path, quality=80)
            return


if __name__ == "__main__":
    main()
