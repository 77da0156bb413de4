"""Mix a programme's channels to a rendition's with explicit matrices over channel names.

FFmpeg's own mixing depends on its build and on the order of filters; these matrices don't. Stereo from more channels
follows ITU-R BS.775-4, annex 4 (Lo/Ro): centre and surrounds at -3 dB, a single rear channel at -6 dB on both sides, no
LFE. For 5.1, channels that 5.1 has are kept. If there are two pairs of surrounds, each is 3 dB lower; a single rear
channel goes to both surrounds at -3 dB. Wide fronts go to their side at full level, heights and floors to the nearest
channel at -3 dB.
"""

from collections.abc import Mapping
from itertools import chain

from headend.core.errors import MasterError
from headend.core.media import AudioTrack
from headend.core.media.speakers import LAYOUTS, holds_surround

LESS_3_DB, LESS_6_DB = 0.707107, 0.5
RENDITION_CHANNELS: Mapping[str, tuple[str, ...]] = {"2.0": LAYOUTS["stereo"], "5.1": LAYOUTS["5.1"]}
"""The channels of each layout of renditions."""

Gains = Mapping[str, float]
"""Gains of one of the master's channels, by the rendition's channel."""

_UNUSED = frozenset({"LFE", "LFE2", "UNSD"})
"""Channels that stereo leaves out: low-frequency effects, and channels marked unused."""
_STEREO: Mapping[str, Gains] = {
    **{name: {"FL": 1.0} for name in ("FL", "FLC", "WL", "DL", "BIL")},
    **{name: {"FR": 1.0} for name in ("FR", "FRC", "WR", "DR", "BIR")},
    **{name: {"FL": LESS_3_DB} for name in ("BL", "SL", "SDL", "TFL", "TSL", "TBL", "BFL")},
    **{name: {"FR": LESS_3_DB} for name in ("BR", "SR", "SDR", "TFR", "TSR", "TBR", "BFR")},
    "FC": {"FL": LESS_3_DB, "FR": LESS_3_DB},
    **{name: {"FL": LESS_6_DB, "FR": LESS_6_DB} for name in ("BC", "TFC", "TC", "TBC", "BFC")},
    **{name: {} for name in _UNUSED},
}
_FIVE_ONE: Mapping[str, Gains] = {
    **{name: {name: 1.0} for name in ("FL", "FR", "FC", "LFE", "BL", "BR")},
    "SL": {"BL": 1.0},
    "SR": {"BR": 1.0},
    "BC": {"BL": LESS_3_DB, "BR": LESS_3_DB},
    **{name: {"FL": 1.0} for name in ("FLC", "WL")},
    **{name: {"FR": 1.0} for name in ("FRC", "WR")},
    **{name: {"FL": LESS_3_DB} for name in ("TFL", "BFL")},
    **{name: {"FR": LESS_3_DB} for name in ("TFR", "BFR")},
    **{name: {"FC": LESS_3_DB} for name in ("TFC", "BFC")},
    **{name: {"BL": LESS_3_DB} for name in ("TSL", "TBL", "SDL")},
    **{name: {"BR": LESS_3_DB} for name in ("TSR", "TBR", "SDR")},
    "TC": {"FL": LESS_6_DB, "FR": LESS_6_DB},
    "TBC": {"BL": LESS_6_DB, "BR": LESS_6_DB},
    "LFE2": {"LFE": 1.0},
    "UNSD": {},
}
_PAIRS = (("SL", "BL"), ("SR", "BR"), ("LFE", "LFE2"))
"""Channels that share a channel of 5.1 if both exist."""


def pan(track: AudioTrack, layout: str) -> tuple[str, bool]:
    """Build the argument of FFmpeg's ``pan`` filter.

    Args:
        track: The programme.
        layout: The rendition's layout: ``2.0`` or ``5.1``.

    Returns:
        The filter's argument, and whether a channel can exceed full scale because its coefficients add up to over 1.

    Raises:
        MasterError: A channel has no place in the rendition, or the channels are unknown.
    """
    rows = matrix(track, layout)
    text = "|".join(f"{name}={_terms(row) or '0*c0'}" for name, row in rows.items())
    return f"{'stereo' if layout == '2.0' else layout}|{text}", any(sum(row.values()) > 1 for row in rows.values())


def matrix(track: AudioTrack, layout: str) -> dict[str, dict[int, float]]:
    """The gain of each of the programme's channels in each of the rendition's; arguments as for `pan`."""
    rows: dict[str, dict[int, float]] = {name: {} for name in RENDITION_CHANNELS[layout]}
    for channel, gains in enumerate(_gains(track, layout)):
        for name, gain in gains.items():
            rows[name][channel] = gain
    return rows


def _gains(track: AudioTrack, layout: str) -> list[Gains]:
    speakers = track.speakers
    if layout == "2.0" and len(speakers) == 1:
        # A single channel goes to both sides; its name does not matter.
        return [{"FL": 1.0, "FR": 1.0}]
    gains_of = _STEREO if layout == "2.0" else _FIVE_ONE
    unsupported = sorted(name for name in speakers if name not in gains_of)
    if not speakers or unsupported or (layout == "5.1" and not holds_surround(speakers)):
        raise MasterError(
            f"audio {track.label} has {track.channels} channels in layout {track.layout!r}"
            f"{f' with {unsupported[0]}' if unsupported else ''}, which can't be mixed to {layout}; "
            f"pick the channels to deliver, such as --audio {track.index}.0+{track.index}.1"
        )
    pairs = {pair for pair in _PAIRS if layout == "5.1" and {*pair} <= {*speakers}}
    shared = frozenset(chain.from_iterable(pairs))
    return [
        {to: LESS_3_DB * gain if name in shared else gain for to, gain in gains_of[name].items()} for name in speakers
    ]


def _terms(row: Mapping[int, float]) -> str:
    return "+".join(f"c{channel}" if gain == 1 else f"{gain:.6g}*c{channel}" for channel, gain in row.items())
