"""Random numbers by position: a value depends only on its stream ``(seed, purpose)`` and its number.

So a run gives the same bytes for any number of workers and any order of their work.

Source:
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64).
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(shift) for shift in (30, 27, 31, 11))


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 on each value."""
    with np.errstate(over="ignore"):
        mixed = values + _GOLDEN
        mixed = (mixed ^ (mixed >> _S30)) * _MIX_1
        mixed = (mixed ^ (mixed >> _S27)) * _MIX_2
    return np.asarray(mixed ^ (mixed >> _S31))


def draw(stream: int, numbers: Any) -> NDArray[np.uint64]:
    """Values of a stream.

    Args:
        stream: The stream, 0 to 2**64 - 1.
        numbers: Positions, from 0; array-like.

    Returns:
        One value from 0 to 2**64 - 1 per position.
    """
    start = splitmix64(np.asarray([stream], dtype=np.uint64))[0]
    return splitmix64(start ^ np.asarray(numbers, dtype=np.uint64))


def stream_of(seed: int, purpose: str) -> int:
    """The stream for one purpose of a run, such as ``"arrivals"``."""
    return int(draw(seed, [zlib.crc32(purpose.encode())])[0])


def uniform(stream: int, numbers: Any) -> NDArray[np.float64]:
    """Values of a stream, uniformly distributed in [0, 1)."""
    return np.asarray((draw(stream, numbers) >> _S11).astype(np.float64) * 2.0**-53)


def normal(stream: int, numbers: Any) -> NDArray[np.float64]:
    """Values of a stream with mean 0 and standard deviation 1, by the Box-Muller transform."""
    positions = np.asarray(numbers, dtype=np.uint64) * np.uint64(2)
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(stream, positions)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(stream, positions + np.uint64(1))))
