"""The parts that all encode commands share: the program, the placeholders and the global options."""

PROGRAM = "ffmpeg"
"""First word of every command; a worker replaces it with the path of its own FFmpeg."""
MASTER = "{master}"
"""Placeholder for the input; a worker replaces it with a path or with an address on its loopback interface."""
SCRATCH = "{scratch}"
"""Placeholder for the folder of the outputs."""

GLOBAL = (
    "-hide_banner", "-nostdin", "-y",
    # Only warnings and errors, which are stored with failures. FFmpeg reports concealed damage as a warning. Warnings
    # are counted, so FFmpeg must not combine them to "repeated 3 times".
    "-loglevel", "repeat+warning",
    # Progress on standard output, twice a second; it also shows that the process is alive.
    "-progress", "pipe:1", "-stats_period", "0.5",
    # Other chunks are encoded at the same time.
    "-filter_complex_threads", "1",
)  # fmt: skip

CONCEALMENT = (
    # Continue even if nothing can be decoded: missing frames are replaced.
    "-max_error_rate", "1",
)  # fmt: skip
