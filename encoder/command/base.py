"""What every encode command shares: the program, the placeholders and the global options."""

PROGRAM = "ffmpeg"
"""First word of every command; a worker replaces it with the path of its own FFmpeg."""
MASTER = "{master}"
"""Placeholder for the input; a worker replaces it with a path or with an address on its loopback interface."""
SCRATCH = "{scratch}"
"""Placeholder for the folder of the outputs."""

GLOBAL = (
    "-hide_banner", "-nostdin", "-y",
    # Only warnings and errors: they are kept as evidence. FFmpeg reports concealed damage as a warning. Each one is
    # counted, so FFmpeg must not fold them into "repeated 3 times".
    "-loglevel", "repeat+warning",
    # Frame counts on standard output, twice a second: progress, and the sign that the child lives.
    "-progress", "pipe:1", "-stats_period", "0.5",
    # Chunks run side by side.
    "-filter_complex_threads", "1",
)  # fmt: skip

MENDING = (
    # Never give up, however much can't be decoded: missing frames are replaced.
    "-max_error_rate", "1",
)  # fmt: skip
