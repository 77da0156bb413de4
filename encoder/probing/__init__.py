"""Probing: what a master is, and when each of its frames is shown, read with PyAV and without decoding it.

Comes in: a master and where to read it. Goes out: a `Probe`.
Modules by what they read: `opening` the container, `indexing` the times of its frames, `rates` what they amount to,
`picture` and `sound` what headers say; `inspecting` puts them together. It must not import planning.
"""

from encoder.probing.captions import read_captions
from encoder.probing.inspecting import probe, probe_sound
from encoder.probing.opening import (
    ANY_PICTURE,
    CONTAINERS,
    SOUND_CONTAINERS,
    input_options,
    opened,
    select,
    time_base_of,
)
from encoder.probing.rates import STANDARD_RATES, frame_rate
from encoder.probing.sound import audio_track, forget_order

__all__ = [
    "ANY_PICTURE",
    "CONTAINERS",
    "SOUND_CONTAINERS",
    "STANDARD_RATES",
    "audio_track",
    "forget_order",
    "frame_rate",
    "input_options",
    "opened",
    "probe",
    "probe_sound",
    "read_captions",
    "select",
    "time_base_of",
]
