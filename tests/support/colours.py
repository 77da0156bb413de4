"""Colours as light: conversion from a film's numbers, and visible differences between colours.

Written from the standards, in floating point, and with nothing of FFmpeg in it: it judges what FFmpeg has made.
Light is linear, in BT.709 primaries, and 1 is the white of a picture: 203 cd/m² in PQ and HLG (ITU-R BT.2408).
"""

import numpy as np
import numpy.typing as npt
from coloraide import Color

from headend.core.media import Colour

Array = npt.NDArray[np.float64]

WHITE_NITS = 203
HLG_PEAK_NITS = 1000
_D65 = (0.3127, 0.3290)
# ITU-T H.273, tables 2 and 4.
_PRIMARIES = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "smpte170m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    "bt470bg": ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
}
_LUMA = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
}
# SMPTE ST 2084.
_M1, _M2, _C1, _C2, _C3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
# ITU-R BT.2100, table 5.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2


def signal_of(light: Array, colour: Colour) -> Array:
    """R'G'B' from 0 to 1 for some light, by primaries and transfer; the last axis is R, G, B."""
    own = light @ (np.linalg.inv(_to_xyz(colour.primaries)) @ _to_xyz("bt709")).T
    own = np.clip(own, 0, None)
    match colour.transfer:
        case "smpte2084":
            power = (own * WHITE_NITS / 10_000) ** _M1
            return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
        case "arib-std-b67":
            shown = own * WHITE_NITS / HLG_PEAK_NITS
            seen = shown * (shown @ _luminance(colour.primaries))[..., None] ** (1 / _HLG_GAMMA - 1)
            return np.where(seen <= 1 / 12, np.sqrt(3 * seen), _A * np.log(np.maximum(12 * seen - _B, 1e-9)) + _C)
        case _:
            return own ** (1 / 2.4)  # a display's curve: ITU-R BT.1886


def light_of(signal: Array, colour: Colour) -> Array:
    """Return the inverse of `signal_of`."""
    signal = np.clip(signal, 0, None)
    match colour.transfer:
        case "smpte2084":
            power = signal ** (1 / _M2)
            own = (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1) * 10_000 / WHITE_NITS
        case "arib-std-b67":
            seen = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
            shown = seen * (seen @ _luminance(colour.primaries))[..., None] ** (_HLG_GAMMA - 1)
            own = shown * HLG_PEAK_NITS / WHITE_NITS
        case _:
            own = signal**2.4
    return own @ (np.linalg.inv(_to_xyz("bt709")) @ _to_xyz(colour.primaries)).T


def codes_of(signal: Array, colour: Colour, bit_depth: int) -> Array:
    """Y'CbCr, not rounded, of R'G'B' signals; the last axis is Y', Cb, Cr.

    Source: ITU-T H.273, section 8.3.
    """
    red, blue = _LUMA[colour.matrix]
    luma = signal @ np.array([red, 1 - red - blue, blue])
    differences = (signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red)
    low, span, chroma = _quantities(colour.range, bit_depth)
    return np.stack([low + span * luma, *(chroma * d + (1 << bit_depth - 1) for d in differences)], axis=-1)


def signal_from(codes: Array, colour: Colour, bit_depth: int) -> Array:
    """Return the inverse of `codes_of`."""
    red, blue = _LUMA[colour.matrix]
    low, span, chroma = _quantities(colour.range, bit_depth)
    luma = (codes[..., 0] - low) / span
    b = luma + (2 - 2 * blue) * (codes[..., 1] - (1 << bit_depth - 1)) / chroma
    r = luma + (2 - 2 * red) * (codes[..., 2] - (1 << bit_depth - 1)) / chroma
    return np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], axis=-1)


def delta_e(left: Array, right: Array) -> float:
    """CIEDE2000 between two lights."""
    one, other = (Color("xyz-d65", list(_to_xyz("bt709") @ light)) for light in (left, right))
    return one.delta_e(other, method="2000")


def _quantities(range_: str, bit_depth: int) -> tuple[float, float, float]:
    """Black, the span of luma, and that of colour differences."""
    if range_ == "pc":
        return 0.0, (1 << bit_depth) - 1.0, (1 << bit_depth) - 1.0
    unit = float(1 << bit_depth - 8)
    return 16 * unit, 219 * unit, 224 * unit


def _to_xyz(primaries: str) -> Array:
    """RGB to CIE XYZ. Source: SMPTE RP 177."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _PRIMARIES[primaries]]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))


def _luminance(primaries: str) -> Array:
    return _to_xyz(primaries)[1]
