"""Read a programme's measured loudness, and derive one static gain from it.

A programme is measured as a whole, and separately in each layout that is delivered, since 5.1 and its stereo mix
differ. The gain is constant over time. Only the limiter reacts to peaks that would exceed the ceiling.

Sources: ITU-R BS.1770-4 (integrated loudness, true peak); EBU Tech 3342 (range); ETSI TS 102 366, section 4.4.2.8
(dialnorm).
"""

import math
import re
from collections.abc import Mapping, Sequence

from headend.core.errors import ToolFailed
from headend.core.media import Loudness, LoudnessTarget

CEILING_DBTP = -1.0
"""Headroom that a lossy encoder needs to stay below full scale (EBU R 128, AES TD1008)."""
MAX_REDUCTION_DB = 6.0
"""Maximum reduction by the limiter, which is inaudible on short peaks; to stay within it, the gain is lowered."""
MAX_GAIN_DB = 20.0
"""Maximum gain. A programme that would need more is meant to be silent, or is broken, and must not be amplified.
There is no limit for the attenuation of loud sound."""
GATE_LUFS = -70.0
"""The gate of BS.1770-4; FFmpeg reports this value for silence and for less than 0.4 s of sound."""
NO_DIALNORM_DB = -31
"""A dialnorm with which decoders don't change the level."""

_NUMBER = r"(-?(?:\d+(?:\.\d+)?|inf|nan))"
_SUMMARY = re.compile(
    rf"\[ebur128@(\S+) @ [^]]*\] Summary:.*?\bI:\s+{_NUMBER} LUFS.*?\bLRA:\s+{_NUMBER} LU.*?\bPeak:\s+{_NUMBER} dBFS",
    re.DOTALL,
)


def describe(target_lufs: float | None) -> str:
    """Describe the target, as a line of the plan's decisions."""
    if target_lufs is None:
        return "loudness is measured and not changed"
    return (
        f"loudness → {target_lufs:g} LUFS by one gain for each programme and layout, "
        f"true peak at most {CEILING_DBTP:g} dBTP"
    )


def limiter(sample_rate_hz: int) -> str:
    """Build the filters that keep true peaks below the ceiling.

    Peaks between samples appear at four times the rate (BS.1770-4, annex 2). The limit is half a decibel below the
    ceiling, since resampling to the delivered rate can raise peaks by that much.
    """
    limit = 10 ** ((CEILING_DBTP - 0.5) / 20)
    # Without make-up gain, and without shifting the sound.
    return f"aresample={4 * sample_rate_hz},alimiter=limit={limit:.3f}:level=0:latency=1,aresample={sample_rate_hz}"


def level_placeholder(layout: str) -> str:
    """Placeholder in a planned command for the filters that set a layout's level."""
    return f"{{level-{layout}}}"


def dialnorm_placeholder(layout: str) -> str:
    """Placeholder in a planned command for a layout's dialnorm."""
    return f"{{dialnorm-{layout}}}"


def meter(layout: str) -> str:
    """The measuring filter, with the layout in its name so that its summary contains it."""
    return f"ebur128@{layout}"


def levels(loudness_target: LoudnessTarget, stderr: str) -> tuple[Loudness, ...]:
    """Read the results of the command that measures loudness, and decide each layout's gain.

    Args:
        loudness_target: The programme's target and its limits.
        stderr: The command's standard error.

    Returns:
        One result for each layout, ordered by name.

    Raises:
        ToolFailed: A layout's summary is missing.
    """
    measured = {layout: [float(number) for number in numbers] for layout, *numbers in _SUMMARY.findall(stderr)}
    wanted = sorted(set(loudness_target.layouts))
    if not measured.keys() >= set(wanted):
        raise ToolFailed(
            "FFmpeg measured no loudness; see its output with --verbose", argv=list(loudness_target.argv), stderr=stderr
        )
    return tuple(
        level(loudness_target, layout, integrated_lufs=integrated, range_lu=range_lu, true_peak_dbtp=peak)
        for layout, (integrated, range_lu, peak) in ((layout, measured[layout]) for layout in wanted)
    )


def level(
    loudness_target: LoudnessTarget, layout: str, *, integrated_lufs: float, range_lu: float, true_peak_dbtp: float
) -> Loudness:
    """Decide a layout's gain.

    The gain reaches the target unless the limiter would have to reduce peaks too much. A programme that is silent or
    too short to measure keeps its level.

    Args:
        loudness_target: The target and its limits.
        layout: The layout.
        integrated_lufs: Measured loudness; `GATE_LUFS`, less, or not a number for silence.
        range_lu: Measured loudness range.
        true_peak_dbtp: Measured true peak; minus infinity for silence.

    Returns:
        The measured values, the gain and the resulting values.
    """
    integrated = integrated_lufs if integrated_lufs > GATE_LUFS else None
    peak = true_peak_dbtp if math.isfinite(true_peak_dbtp) else None
    gain = 0.0
    may_limit = layout in loudness_target.mixed
    if loudness_target.target_lufs is not None and integrated is not None:
        gain, may_limit = loudness_target.target_lufs - integrated, True
    if may_limit and peak is not None:
        gain = min(gain, loudness_target.ceiling_dbtp + loudness_target.reduction_db - peak)
    gain = round(min(MAX_GAIN_DB, gain), 1) + 0.0  # avoid -0.0
    new_peak = None if peak is None else round(peak + gain, 1)
    limited = may_limit and new_peak is not None and new_peak > loudness_target.ceiling_dbtp
    result = None if integrated is None else round(integrated + gain, 1)
    return Loudness(
        layout=layout,
        integrated_lufs=integrated,
        range_lu=range_lu,
        true_peak_dbtp=peak,
        gain_db=gain,
        limited=limited,
        result_lufs=result,
        result_dbtp=loudness_target.ceiling_dbtp if limited else new_peak,
        dialnorm_db=NO_DIALNORM_DB if result is None else max(-31, min(-1, round(result))),
    )


def values(loudness_target: LoudnessTarget, decided: Sequence[Loudness]) -> Mapping[str, str]:
    """The values of `level_placeholder` and `dialnorm_placeholder` in the encode command."""
    values_of = {}
    for loudness in decided:
        gain = f"volume={loudness.gain_db:.1f}dB"
        values_of[level_placeholder(loudness.layout)] = (
            f"{gain},{loudness_target.limiter}" if loudness.limited else gain
        )
        values_of[dialnorm_placeholder(loudness.layout)] = str(loudness.dialnorm_db)
    return values_of


def default_values(loudness_target: LoudnessTarget) -> Mapping[str, str]:
    """Values for commands that a person runs without a measurement: no gain, and a limiter for mixes."""
    values_of = {}
    for layout in sorted(set(loudness_target.layouts)):
        values_of[level_placeholder(layout)] = loudness_target.limiter if layout in loudness_target.mixed else "anull"
        values_of[dialnorm_placeholder(layout)] = str(NO_DIALNORM_DB)
    return values_of
