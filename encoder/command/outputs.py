"""Options of output files: fragmented MP4, and the lossless reference that trial encodes are compared with.

Source: FFmpeg's documentation, section "mov, mp4, ismv" (muxer options).
"""

from collections.abc import Mapping

from encoder.command.base import SCRATCH
from encoder.families import Options

FRAGMENTS: Options = {
    "f": "mp4",
    # One fragment per GOP, or per period of sound, with offsets from its own moof. The moov is written after the first
    # packets, because it contains headers that come from the encoder.
    "movflags": "+cmaf+frag_keyframe+delay_moov+default_base_moof",
    # No bit rate: it is not known yet, and init segments would differ.
    "write_btrt": 0,
    # No metadata of the master, no dates, no tool names: init segments are equal across chunks and runs.
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
}

MUXING = frozenset({*FRAGMENTS, "use_editlist", "video_track_timescale"})
"""Options of an output that belong to the container, not to the encoder."""

REFERENCE = "reference"
"""Id of the reference, a lossless copy of the master's frames with which trial encodes are compared."""
REFERENCE_FILE = f"{SCRATCH}/{REFERENCE}.nut"
LOSSLESS: Options = {
    "f": "nut",
    # Lossless and fast at 8 and 10 bits; half the size of raw frames.
    "c:v": "ffvhuff",
    "threads": 1,
    "fps_mode": "passthrough",
}


def pass_log(rendition: str, options: Mapping[str, str | int | float]) -> Options:
    """The file in which a two-pass encoder stores the statistics of its first pass; no option for one-pass encoders.

    FFmpeg appends the number of the output to the file's name. The command of the first pass only has the outputs of
    two-pass encoders. So these come first in the other command, too, and have the same numbers.
    """
    return {"passlogfile": f"{SCRATCH}/{rendition}"} if "pass" in options else {}
