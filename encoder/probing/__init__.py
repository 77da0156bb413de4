"""Probe a master with PyAV: its tracks, and the time of each frame.

Input: a master and where to read it. Output: a `Probe`. Only a few frames are decoded, unless packets don't state when
frames are shown.
Modules: `opening` opens the container, `indexing` reads the times of frames, `rates` finds the frame rate, `picture`
and `sound` read headers, `inspecting` combines them. It must not import planning.
"""

from typing import TYPE_CHECKING, Any

from encoder.probing.captions import read_captions
from encoder.probing.opening import (
    ANY_PICTURE,
    CONTAINERS,
    SOUND_CONTAINERS,
    avoid_custom_layout,
    input_options,
    opened,
    select,
    time_base_of,
)

if TYPE_CHECKING:
    from encoder.probing.inspecting import probe, probe_sound
    from encoder.probing.rates import STANDARD_RATES, frame_rate
    from encoder.probing.sound import audio_track

__all__ = [
    "ANY_PICTURE",
    "CONTAINERS",
    "SOUND_CONTAINERS",
    "STANDARD_RATES",
    "audio_track",
    "avoid_custom_layout",
    "frame_rate",
    "input_options",
    "opened",
    "probe",
    "probe_sound",
    "read_captions",
    "select",
    "time_base_of",
]


def __getattr__(name: str) -> Any:
    """Import what needs NumPy on first use: every task starts a scan for damage, which does not need it."""
    if name in __all__:
        from encoder.probing import inspecting, rates, sound

        return next(getattr(module, name) for module in (inspecting, rates, sound) if hasattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
