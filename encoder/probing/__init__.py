"""Probe a master with PyAV: its tracks, and the time of each frame, without decoding it as a whole.

Input: a master and where to read it. Output: a `Probe`.
Modules: `opening` opens the container, `indexing` reads the times of frames, `rates` finds the frame rate, `picture`
and `sound` read headers, `inspecting` combines them. It must not import planning.
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
