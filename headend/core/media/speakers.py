"""Channel layouts: the speaker of each channel.

Source: FFmpeg's names and orders (``ffmpeg -layouts``), after CTA-861 and ITU-R BS.2051.
"""

import re
from collections.abc import Mapping

LAYOUTS: Mapping[str, tuple[str, ...]] = {
    name: tuple(speakers.split("+"))
    for name, speakers in {
        "mono": "FC",
        "stereo": "FL+FR",
        "2.1": "FL+FR+LFE",
        "3.0": "FL+FR+FC",
        "3.0(back)": "FL+FR+BC",
        "4.0": "FL+FR+FC+BC",
        "quad": "FL+FR+BL+BR",
        "quad(side)": "FL+FR+SL+SR",
        "3.1": "FL+FR+FC+LFE",
        "5.0": "FL+FR+FC+BL+BR",
        "5.0(side)": "FL+FR+FC+SL+SR",
        "4.1": "FL+FR+FC+LFE+BC",
        "5.1": "FL+FR+FC+LFE+BL+BR",
        "5.1(side)": "FL+FR+FC+LFE+SL+SR",
        "6.0": "FL+FR+FC+BC+SL+SR",
        "6.0(front)": "FL+FR+FLC+FRC+SL+SR",
        "3.1.2": "FL+FR+FC+LFE+TFL+TFR",
        "hexagonal": "FL+FR+FC+BL+BR+BC",
        "6.1": "FL+FR+FC+LFE+BC+SL+SR",
        "6.1(back)": "FL+FR+FC+LFE+BL+BR+BC",
        "6.1(front)": "FL+FR+LFE+FLC+FRC+SL+SR",
        "7.0": "FL+FR+FC+BL+BR+SL+SR",
        "7.0(front)": "FL+FR+FC+FLC+FRC+SL+SR",
        "7.1": "FL+FR+FC+LFE+BL+BR+SL+SR",
        "7.1(wide)": "FL+FR+FC+LFE+BL+BR+FLC+FRC",
        "7.1(wide-side)": "FL+FR+FC+LFE+FLC+FRC+SL+SR",
        "5.1.2": "FL+FR+FC+LFE+SL+SR+TFL+TFR",
        "5.1.2(back)": "FL+FR+FC+LFE+BL+BR+TFL+TFR",
        "octagonal": "FL+FR+FC+BL+BR+BC+SL+SR",
        "cube": "FL+FR+BL+BR+TFL+TFR+TBL+TBR",
        "5.1.4": "FL+FR+FC+LFE+SL+SR+TFL+TFR+TBL+TBR",
        "7.1.2": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR",
        "7.1.4": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR+TBL+TBR",
        "7.2.3": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR+TBC+LFE2",
        "9.1.4": "FL+FR+FC+LFE+BL+BR+FLC+FRC+SL+SR+TFL+TFR+TBL+TBR",
        "9.1.6": "FL+FR+FC+LFE+BL+BR+FLC+FRC+SL+SR+TFL+TFR+TBL+TBR+TSL+TSR",
        "hexadecagonal": "FL+FR+FC+BL+BR+BC+SL+SR+TFL+TFC+TFR+TBL+TBC+TBR+WL+WR",
        "binaural": "BIL+BIR",
        "downmix": "DL+DR",
        "22.2": "FL+FR+FC+LFE+BL+BR+FLC+FRC+BC+SL+SR+TC+TFL+TFC+TFR+TBL+TBC+TBR+LFE2+TSL+TSR+BFC+BFL+BFR",
    }.items()
}
"""Speakers of each named layout, in the order of its channels."""

ASSUMED: Mapping[int, str] = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Assumed layout of unnamed channels, by their number, according to ITU-R BS.775 and SMPTE ST 428-12."""

_LISTED = re.compile(r"(\d{1,3}) channels? \(([^()]+)\)")
_AMBISONIC = re.compile(r"ambisonic (\d{1,2})(?:\+(.+))?")
_COUNTED = re.compile(r"(\d{1,3}) channels?")


def named_speakers(layout: str) -> tuple[str, ...]:
    """The speakers that a layout names, in the order of its channels; empty if it names none.

    Args:
        layout: FFmpeg's name, such as ``5.1(side)``; or a list, such as ``6 channels (FL+FC+FR+BL+BR+LFE)``, for a
            custom order of channels.
    """
    if listed := _LISTED.fullmatch(layout):
        return tuple(name.partition("@")[0] for name in listed[2].split("+"))
    return LAYOUTS.get(layout, ())


def channel_count(layout: str) -> int:
    """The number of channels of a layout; 0 if it is unknown."""
    if counted := _COUNTED.match(layout):
        return int(counted[1])
    if ambisonic := _AMBISONIC.fullmatch(layout):
        return (int(ambisonic[1]) + 1) ** 2 + len(LAYOUTS.get(ambisonic[2] or "", ()))
    return len(LAYOUTS.get(layout, ()))


def holds_surround(speakers: tuple[str, ...]) -> bool:
    """Whether the channels include 5.1: left, right, centre, LFE, and a pair of surrounds."""
    present = {*speakers}
    pair = {"SL", "SR"} <= present or {"BL", "BR"} <= present
    return pair and {"FL", "FR", "FC", "LFE"} <= present
