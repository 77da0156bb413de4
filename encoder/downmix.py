"""From a programme's channels to a rendition's, by explicit matrices.

FFmpeg's implicit mixing depends on the build and on the order of filters; these do not. Stereo from more channels
follows ITU-R BS.775-4, annex 4 (Lo/Ro): centre and surrounds at -3 dB, the LFE left out.
"""

from collections.abc import Mapping

from headend.errors import MasterError
from headend.media import AudioTrack

LESS_3_DB = "0.707107"

_STEREO: Mapping[str, tuple[str, str]] = {
    "mono": ("c0", "c0"),
    "stereo": ("c0", "c1"),
    "downmix": ("c0", "c1"),
    "2.1": ("c0", "c1"),
    "3.0": (f"c0+{LESS_3_DB}*c2", f"c1+{LESS_3_DB}*c2"),
    "3.1": (f"c0+{LESS_3_DB}*c2", f"c1+{LESS_3_DB}*c2"),
    "quad": (f"c0+{LESS_3_DB}*c2", f"c1+{LESS_3_DB}*c3"),
    "quad(side)": (f"c0+{LESS_3_DB}*c2", f"c1+{LESS_3_DB}*c3"),
    "5.0": (f"c0+{LESS_3_DB}*c2+{LESS_3_DB}*c3", f"c1+{LESS_3_DB}*c2+{LESS_3_DB}*c4"),
    "5.0(side)": (f"c0+{LESS_3_DB}*c2+{LESS_3_DB}*c3", f"c1+{LESS_3_DB}*c2+{LESS_3_DB}*c4"),
    "5.1": (f"c0+{LESS_3_DB}*c2+{LESS_3_DB}*c4", f"c1+{LESS_3_DB}*c2+{LESS_3_DB}*c5"),
    "5.1(side)": (f"c0+{LESS_3_DB}*c2+{LESS_3_DB}*c4", f"c1+{LESS_3_DB}*c2+{LESS_3_DB}*c5"),
    "7.1": (
        f"c0+{LESS_3_DB}*c2+{LESS_3_DB}*c4+{LESS_3_DB}*c6",
        f"c1+{LESS_3_DB}*c2+{LESS_3_DB}*c5+{LESS_3_DB}*c7",
    ),
}

_FIVE_ONE: Mapping[str, tuple[str, ...]] = {
    "5.1": ("c0", "c1", "c2", "c3", "c4", "c5"),
    "5.1(side)": ("c0", "c1", "c2", "c3", "c4", "c5"),
    "7.1": ("c0", "c1", "c2", "c3", f"{LESS_3_DB}*c4+{LESS_3_DB}*c6", f"{LESS_3_DB}*c5+{LESS_3_DB}*c7"),
}

JOINED: Mapping[str, tuple[str, ...]] = {
    "stereo": ("FL", "FR"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""What separate streams can be joined to, and the order in which their channels are given."""

_BY_COUNT = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""What a programme is taken for that names no layout: the orders of ITU-R BS.775 and SMPTE ST 428-12."""


def pan(track: AudioTrack, layout: str) -> tuple[str, bool]:
    """Write the matrix for FFmpeg's ``pan`` filter.

    Args:
        track: The programme.
        layout: The rendition's: ``2.0`` or ``5.1``.

    Returns:
        The filter's argument, and whether the sum of coefficients lets a channel exceed full scale.

    Raises:
        MasterError: There is no matrix from the programme's layout.
    """
    source = track.layout if track.layout in _STEREO else _BY_COUNT.get(track.channels, track.layout)
    table: Mapping[str, tuple[str, ...]] = _STEREO if layout == "2.0" else _FIVE_ONE
    if source not in table:
        raise MasterError(
            f"audio stream {track.index} has {track.channels} channels in layout {track.layout!r}, "
            f"which can't be brought to {layout}; deliver mono, stereo, 5.1 or 7.1"
        )
    names = ("FL", "FR") if layout == "2.0" else ("FL", "FR", "FC", "LFE", "BL", "BR")
    rows = "|".join(f"{name}={row}" for name, row in zip(names, table[source], strict=True))
    return f"{'stereo' if layout == '2.0' else '5.1'}|{rows}", any("+" in row for row in table[source])
