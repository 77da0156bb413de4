"""Masters with a different pitch in each channel, and a measurement of each pitch in each channel."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.support.masters import make_film, run_ffmpeg

PITCHES_HZ: Mapping[str, int] = {
    "FL": 400, "FR": 600, "FC": 800, "LFE": 60, "BL": 1000, "BR": 1400, "SL": 1700, "SR": 1900, "BC": 2100,
    "FLC": 2400, "FRC": 2800, "TFL": 3100, "TFR": 3300, "DL": 450, "DR": 650,
}  # fmt: skip
"""Pitch of each speaker; the LFE carries only sound below 120 Hz."""
AMPLITUDE = 0.1


def make_channels(
    path: Path,
    speakers: Sequence[str],
    *,
    layout: str,
    codec: str = "pcm_s16le",
    codec_args: Sequence[str] = (),
    stated_layout: str = "",
) -> Path:
    """Make a film of two seconds, with a stream of sound whose channels say where they belong by their pitch.

    Args:
        path: The file to write; its suffix chooses the container.
        speakers: Speaker of each channel, in the order of the stream.
        layout: What FFmpeg takes the channels for when it writes them; ``8C`` and the like for nothing.
        codec: FFmpeg's encoder.
        codec_args: More of its options.
        stated_layout: What the file says that they are, if that is something else; for MOV, by a tag or labels of
            ``chan``: see `state_channels`.
    """
    film = make_film(path.with_name(f"picture{path.suffix if path.suffix != '.mxf' else '.mxf'}"), **_picture(path))
    waves = "|".join(f"{AMPLITUDE}*sin(2*PI*{PITCHES_HZ[speaker]}*t)" for speaker in speakers)
    raw = run_ffmpeg(
        "-f", "lavfi", "-i", f"aevalsrc=exprs='{waves}':c={_NATIVE.get(layout, layout)}:s=48000:d=2",
        "-f", "s16le", "-",
    )  # fmt: skip
    run_ffmpeg(
        "-f", "s16le", "-ar", "48000", "-ch_layout", layout, "-i", "pipe:0", "-i", str(film), "-map", "1:v",
        "-map", "0:a", "-c:v", "copy", "-c:a", codec, *codec_args, str(path), stdin=raw,
    )  # fmt: skip
    if stated_layout:
        state_channels(path, stated_layout)
    return path


def _picture(path: Path) -> dict[str, object]:
    if path.suffix == ".mxf":
        return {"size": (160, 90), "codec": "mpeg2video", "codec_args": ("-g", "12", "-b:v", "2M")}
    return {"size": (160, 90)}


_NATIVE = {"8C": "7.1"}
"""Layouts with as many channels, for files without named channels."""
CHAN_TAGS = {"L R Ls Rs C LFE": 122, "L C R Ls Rs LFE": 123, "C L R Ls Rs LFE": 124}
"""Orders of six channels: QuickTime's ``kAudioChannelLayoutTag_MPEG_5_1_B`` to ``_D``."""
CHAN_LABELS = {"L": 1, "R": 2, "C": 3, "LFE": 4, "Ls": 5, "Rs": 6}
"""Apple, Core Audio: ``AudioChannelLabel``."""


def state_channels(path: Path, order: str) -> None:
    """Have a MOV's ``chan`` say an order of channels, by a tag where there is one, else channel by channel."""
    data = bytearray(path.read_bytes())
    at = data.index(b"chan", data.index(b"stsd", data.index(b"soun")))
    size = struct.unpack(">I", data[at - 4 : at])[0]
    assert data.rindex(b"moov") > data.rindex(b"mdat"), "nothing may stand behind what grows"
    if order in CHAN_TAGS:
        data[at + 8 : at + 12] = struct.pack(">I", CHAN_TAGS[order] << 16 | 6)
        path.write_bytes(data)
        return
    labels = [CHAN_LABELS[name] for name in order.split()]
    body = struct.pack(">IIII", 0, 0, 0, len(labels)) + b"".join(struct.pack(">IIfff", n, 0, 0, 0, 0) for n in labels)
    grown = len(body) + 8 - size
    data[at - 4 : at - 4 + size] = struct.pack(">I4s", len(body) + 8, b"chan") + body
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", data_kind(data)):
        place = data.rindex(kind, 0, at) - 4 if kind != b"moov" else data.rindex(kind) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + grown)
    path.write_bytes(data)


def data_kind(data: bytes | bytearray) -> bytes:
    """Return the sample entry's kind, such as ``sowt``."""
    at = data.index(b"stsd", data.index(b"soun"))
    return bytes(data[at + 16 : at + 20])


def pitch_levels(samples: npt.NDArray[np.float32], speakers: Sequence[str]) -> dict[str, list[float]]:
    """Level of each speaker's pitch in each channel, relative to the master; phases are ignored."""
    middle = samples[:, 24_000:72_000].astype(np.float64)
    time_s = np.arange(middle.shape[1]) / 48_000
    found = {}
    for speaker in speakers:
        wave = np.exp(-2j * np.pi * PITCHES_HZ[speaker] * time_s)
        found[speaker] = [float(2 * abs((channel * wave).mean()) / AMPLITUDE) for channel in middle]
    return found
