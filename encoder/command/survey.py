"""The survey: a quick encode of a whole title that shows how hard each GOP is to encode.

The same command detects black pictures, frozen pictures and cuts. `encoder.surveying` reads its results.
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
"""Filters that detect black pictures, frozen pictures and cuts; they report on standard error."""
LOG_LEVEL = ("-loglevel", "repeat+info")
"""Detectors report at this level."""
ENCODE: Options = {
    "f": "framecrc",
    "c:v": "libx264",
    # Only the ratio of the GOPs' sizes counts, so a fast preset is enough.
    "preset": "superfast",
    "crf": 27,
    "sc_threshold": 0,
    "threads": 1,
    "fps_mode": "passthrough",
    "flags:v": "+bitexact",
}


def filters(picture: SourcePicture) -> str:
    """The filters that scale frames down, with square pixels, and run the detectors."""
    width, height = (Fraction(side) for side in picture.size)
    if picture.track.rotation_deg in (0, 180):
        width *= picture.track.sample_aspect_ratio
    else:
        height *= picture.track.sample_aspect_ratio
    share = min(Fraction(1), LINES / min(width, height))
    width_px, height_px = (max(16, 2 * round(side * share / 2)) for side in (width, height))
    return f"scale={width_px}:{height_px}:flags=bilinear,setsar=1,format=yuv420p,{DETECTORS}"


def output(label: str, gop_frames: int) -> tuple[str, ...]:
    """The arguments of the survey's only output; ``label`` is that of the filtered stream."""
    options = {**ENCODE, "g": gop_frames, "keyint_min": gop_frames}
    return "-map", label, *(word for name, value in options.items() for word in (f"-{name}", str(value))), SURVEY_FILE
