"""The survey: a quick encode of a whole title that shows how hard each GOP is, with detectors beside it.

`encoder.surveying` reads its results.
"""

from fractions import Fraction

from encoder.command.base import SCRATCH
from encoder.command.source import SourcePicture
from encoder.families import Options

LINES = 360
"""Shorter side of the survey's picture."""
SURVEY_FILE = f"{SCRATCH}/survey.txt"
"""Where the survey lists the packets of its quick encode."""
DETECTORS = "blackdetect=d=0.08:pix_th=0.1,freezedetect=n=0.001:d=0.5,scdet=t=10"
"""Detectors of black pictures, of frozen ones, and of cuts; they report on standard error."""
LOG_LEVEL = ("-loglevel", "repeat+info")
"""Detectors report at this level."""
ENCODE: Options = {
    "f": "framecrc",
    "c:v": "libx264",
    # The bytes of a GOP show how hard it is next to others; this preset is enough for that.
    "preset": "superfast",
    "crf": 27,
    "sc_threshold": 0,
    "threads": 1,
    "fps_mode": "passthrough",
    "flags:v": "+bitexact",
}


def filters(picture: SourcePicture) -> str:
    """The chain that makes frames on the grid small and square, and runs the detectors."""
    wide, high = (Fraction(side) for side in picture.size)
    if picture.track.rotation_deg in (0, 180):
        wide *= picture.track.sample_aspect_ratio
    else:
        high *= picture.track.sample_aspect_ratio
    share = min(Fraction(1), LINES / min(wide, high))
    width_px, height_px = (max(16, 2 * round(side * share / 2)) for side in (wide, high))
    return f"scale={width_px}:{height_px}:flags=bilinear,setsar=1,format=yuv420p,{DETECTORS}"


def output(label: str, gop_frames: int) -> tuple[str, ...]:
    """The arguments of the survey's only output, which is made from the stream with this label."""
    options = {**ENCODE, "g": gop_frames, "keyint_min": gop_frames}
    return "-map", label, *(word for name, value in options.items() for word in (f"-{name}", str(value))), SURVEY_FILE
