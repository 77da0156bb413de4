"""Options of the files that encoders write: fragmented MP4, and the lossless copy that trials are compared with.

Source: FFmpeg's documentation, section "mov, mp4, ismv" (muxer options).
"""

from collections.abc import Mapping

from encoder.command.base import SCRATCH
from encoder.families import Options

FRAGMENTS: Options = {
    "f": "mp4",
    # One fragment per GOP or stretch of sound, with offsets from its own moof. The moov is written after the first
    # packets, because it holds what only the encoder knows.
    "movflags": "+cmaf+frag_keyframe+delay_moov+default_base_moof",
    # The rate is not known yet, and would make init segments differ.
    "write_btrt": 0,
    # No metadata of the master, no dates, no tool names: init segments are equal across chunks and runs.
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
}

MUXING = frozenset({*FRAGMENTS, "use_editlist", "video_track_timescale"})
"""Options of an output that belong to the container, not to the encoder."""

REFERENCE = "reference"
"""Id of the master's own picture, with which trial encodes are compared."""
REFERENCE_FILE = f"{SCRATCH}/{REFERENCE}.nut"
LOSSLESS: Options = {
    "f": "nut",
    # Lossless and fast at 8 and 10 bits; half the size of raw frames.
    "c:v": "ffvhuff",
    "threads": 1,
    "fps_mode": "passthrough",
}


def pass_log(rendition: str, options: Mapping[str, str | int | float]) -> Options:
    """Where a two-pass encoder stores the statistics of its first pass; nothing for one-pass encoders.

    FFmpeg appends the number of the output within its command. The first pass has no other outputs, so two-pass
    outputs come first in a command: the number is then the same in both passes.
    """
    return {"passlogfile": f"{SCRATCH}/{rendition}"} if "pass" in options else {}
