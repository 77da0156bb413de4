"""AC-3 with dynamic range compression is decoded at full range by default."""

from dataclasses import replace
from pathlib import Path

import pytest

from encoder.sound.command import audio_command, loudness_target
from headend.core.media import Kind
from headend.core.timing import Chunk
from tests.support.channels import make_channels, pitch_levels
from tests.support.encodes import carry_out, probe_film, task_of
from tests.support.makers import make_audio_rendition
from tests.support.masters import run_ffmpeg
from tests.support.playback import sound

QUARTER = 0b110_00000
"""A gain of -12.04 dB: ETSI TS 102 366, section 6.7.1.2 (``dynrng``)."""
FRAME_BYTES = 1792
"""Bytes of a frame at 448 kb/s and 48 kHz, which leave room for eight more bits in each frame of two sines."""


def compress(stream: bytes) -> bytes:
    """Write a gain of eight bits into the first block of each frame of a stereo AC-3 stream."""
    starts = range(0, len(stream) - FRAME_BYTES + 1, FRAME_BYTES)
    return b"".join(_frame(stream[at : at + FRAME_BYTES]) for at in starts)


def _frame(frame: bytes) -> bytes:
    bits = f"{int.from_bytes(frame, 'big'):0{8 * len(frame)}b}"
    assert bits[:16] == f"{0x0B77:016b}" and bits[48:51] == "010"
    at = 51 + 2 + 1 + 5  # after dsurmod, lfeon and dialnorm
    for width in (8, 8, 7):  # compr, langcod, audprodi
        at += 1 + width * (bits[at] == "1")
    at += 2  # copyrightb, origbs
    for width in (14, 14):  # timecod1, timecod2, or the fields that replace them
        at += 1 + width * (bits[at] == "1")
    at += 1 + (bits[at] == "1") * (6 + 8 * (int(bits[at + 1 : at + 7], 2) + 1))  # addbsi
    at += 2 + 2  # blksw, dithflag
    assert bits[at] == "0", "the encoder says no gain"
    frame_bits = f"{bits[:at]}1{QUARTER:08b}{bits[at + 1 :]}"
    end = len(frame_bits) - 18 - 8  # no bits are left before the frame's checksum
    assert set(frame_bits[end : end + 8]) == {"0"}
    frame_bits = frame_bits[:end] + frame_bits[end + 8 :]
    changed = int(frame_bits, 2).to_bytes(len(frame), "big")
    return changed[:-2] + _checksum(changed[2:-2]).to_bytes(2, "big")


def _checksum(data: bytes) -> int:
    """Return the CRC at the end of a frame: ETSI TS 102 366, section 4.4.5 (``crc2``)."""
    found = 0
    for byte in data:
        found ^= byte << 8
        for _ in range(8):
            found = (found << 1 ^ (0x8005 if found & 0x8000 else 0)) & 0xFFFF
    return found


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dynamics")
    plain = make_channels(folder / "plain.mkv", ["FL", "FR"], layout="stereo", codec="ac3", codec_args=("-b:a", "448k"))
    raw = run_ffmpeg("-i", str(plain), "-map", "0:a", "-c", "copy", "-f", "ac3", "-")
    (folder / "squeezed.ac3").write_bytes(compress(raw))
    path = folder / "master.mkv"
    run_ffmpeg(
        "-i", str(plain), "-i", str(folder / "squeezed.ac3"), "-map", "0:v", "-map", "1:a", "-c", "copy", str(path)
    )
    return path


@pytest.mark.parametrize(("compressed", "level"), [(False, 1.0), (True, 0.25)])
def test_dynamic_range_compression_is_applied_only_on_request(
    compressed: bool, level: float, master: Path, tmp_path: Path
) -> None:
    film = probe_film(master)
    assert film.probe.video is not None
    place = film.probe.master, film.probe.audio[0], film.grid, film.probe.video.start_s
    kinds = [make_audio_rendition(id="aac", bit_rate_bps=320_000)]
    task = task_of(
        audio_command(*place, kinds, compressed=compressed), ["aac"], Chunk(0, 0, film.grid.frame_count, 1), Kind.AUDIO
    )
    measured = loudness_target(*place, kinds, None, compressed=compressed)
    outputs = carry_out(replace(task, loudness_target=measured), master, tmp_path)
    found = pitch_levels(sound(outputs["aac"]), ["FL", "FR"])
    assert found["FL"] == pytest.approx([level, 0], abs=0.03)
    assert found["FR"] == pytest.approx([0, level], abs=0.03)
