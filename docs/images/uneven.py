"""Write the table of masters whose time does not run evenly into `docs/masters.md`, and a picture for each.

``python -m docs.images.uneven`` makes each master, encodes it as `tests/end_to_end/test_uneven_time.py` does, and
measures what comes out.
"""

import tempfile
from itertools import pairwise
from pathlib import Path

import av

from headend.core.errors import MasterError
from tests.support import uneven_masters as made_as
from tests.support.deliveries import Delivered, deliver

HERE = Path(__file__).parent
PAGE = HERE.parent / "masters.md"
BEGIN, END = "<!-- uneven, measured by docs/images/uneven.py -->", "<!-- end of uneven -->"


def main() -> None:
    """Measure all kinds, and write the table and the pictures."""
    rows = ["| master | what is decided | measured | |", "|---|---|---|---|"]
    for kind in made_as.KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            master = kind.make(folder)
            try:
                delivered = deliver(master, folder / "made")
            except MasterError as error:
                text = error.message.replace(f"{master}", "film")
                rows.append(f"| **{kind.name}**: {kind.about} | refused: “{text}” | | |")
                continue
            (HERE / "masters").mkdir(exist_ok=True)
            slug = "-".join(kind.name.split())
            _keep_picture(folder / "made", HERE / "masters" / f"uneven-{slug}.jpg")
            decided = "; ".join(f"“{line}”" for line in delivered.plan.decisions if _is_about_time(line)) or "—"
            picture = f"![{kind.name}](images/masters/uneven-{slug}.jpg)"
            rows.append(f"| **{kind.name}**: {kind.about} | {decided} | {_measured(delivered)} | {picture} |")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{after}", encoding="utf-8")


def _is_about_time(line: str) -> bool:
    return not any(word in line for word in ("colour", "rung", "loudness", "keyframe"))


def _measured(delivered: Delivered) -> str:
    known = [number for number in delivered.numbers if number is not None]
    if not known:
        return f"{len(delivered.numbers)} frames at {float(delivered.rate):g}"
    repeats = sum(here == after for here, after in pairwise(known))
    text = f"{len(known)} frames at {float(delivered.rate):g}"
    text += f", {repeats} of them repeats" if repeats else ", each picture once"
    if delivered.samples.size:
        wanted = [
            delivered.shown_s(round(at * made_as.RATE)) for at in made_as.BEEPS_S if round(at * made_as.RATE) in known
        ]
        off_ms = [1000 * (beep - shown) for beep, shown in zip(delivered.beeps_s, wanted, strict=False)]
        text += f"; beeps at {', '.join(f'{beep:.2f}' for beep in delivered.beeps_s)} s"
        together = len(off_ms) == len(delivered.beeps_s) and max(map(abs, off_ms)) < 1000 / made_as.RATE
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
