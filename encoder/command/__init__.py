"""Build the commands that encode pictures: decode once, scale in one cascade, feed many encoders.

Input: a master's picture, the grid and renditions. Output: FFmpeg arguments, with placeholders for the master and for
the folder of the outputs. It must not run a command, read a file or import planning.
"""

from encoder.command.base import CONCEALMENT, GLOBAL, MASTER, PROGRAM, SCRATCH
from encoder.command.cascade import is_narrowed, scaled
from encoder.command.outputs import FRAGMENTS, MUXING, REFERENCE, REFERENCE_FILE, pass_log
from encoder.command.source import SourcePicture, source_options
from encoder.command.stills import POSTERS, SHEETS, SideOutputs, side_outputs
from encoder.command.survey import SURVEY_FILE
from encoder.command.video import VideoCommands

__all__ = [
    "CONCEALMENT",
    "FRAGMENTS",
    "GLOBAL",
    "MASTER",
    "MUXING",
    "POSTERS",
    "PROGRAM",
    "REFERENCE",
    "REFERENCE_FILE",
    "SCRATCH",
    "SHEETS",
    "SURVEY_FILE",
    "SideOutputs",
    "SourcePicture",
    "VideoCommands",
    "is_narrowed",
    "pass_log",
    "scaled",
    "side_outputs",
    "source_options",
]
