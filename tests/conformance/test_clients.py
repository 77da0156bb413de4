"""Players other than browsers play both manifests to the end through the origin."""

import os
import re
import shutil
import subprocess
from collections import Counter
from fractions import Fraction

import pytest

from encoder.tool import ffmpeg_path
from headend.core.media import AudioRendition, Codec, Track
from tests.conformance.conftest import TITLE, Served

NOT_IN_HLS = {Codec.VP9, Codec.OPUS}
TIMEOUT_S = 120

each_manifest = pytest.mark.parametrize("manifest", ["multivariant.m3u8", "manifest.mpd"])


def output(*argv: str, user: str | None = None) -> str:
    """Run a program, which must succeed, and return what it wrote to both streams."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
        user=user,
        extra_groups=None if user is None else (),
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stderr}"
    return done.stdout + done.stderr


NOBODY = "nobody" if os.geteuid() == 0 else None
"""User for players that refuse to run as root."""


def program(name: str, package: str, *trial: str, user: str | None = None) -> str:
    """Find a player; the test is skipped, with the reason, if it is not installed or can't start.

    Args:
        name: Its program.
        package: Debian's package.
        trial: Arguments with which it starts, plays nothing and succeeds.
        user: User that runs it; None for the current one.
    """
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; Debian has it in {package}")
    tried = subprocess.run(
        [path, *trial], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        check=False, user=user, extra_groups=None if user is None else (),
    )  # fmt: skip
    if tried.returncode != 0:
        why = (tried.stderr.strip() or f"status {tried.returncode}").splitlines()[-1]
        pytest.skip(f"{name} can't start: {why}; reinstall {package}")
    return path


def samples(track: Track[AudioRendition]) -> tuple[int, int]:
    """Return samples of a programme and of a codec frame."""
    ticks = sum(part.duration_ticks for part in track.segments)
    return ticks - track.priming_samples, track.segments[0].duration_ticks // track.segments[0].samples


@each_manifest
def test_ffmpeg_decodes_every_rendition_without_an_error_and_whole(served: Served, manifest: str) -> None:
    def named(codec: Codec) -> bool:
        return manifest == "manifest.mpd" or codec not in NOT_IN_HLS

    trick = served.presentation.trick if manifest == "manifest.mpd" else ()
    video = [*(track for track in served.presentation.video if named(track.rendition.codec)), *trick]
    audio = [track for track in served.presentation.audio if named(track.rendition.codec)]
    url = f"{served.url}/{TITLE}/{manifest}"
    # framecrc writes "stream, dts, pts, duration, size, checksum" of each decoded frame; errors would be lines too.
    # skip_manual: FFmpeg's DASH demuxer puts the init segment before each segment and would drop priming each time.
    printed = output(
        *(ffmpeg_path(), "-nostdin", "-v", "error", "-xerror", "-flags2", "+skip_manual", "-i", url),
        *("-map", "0:v", "-map", "0:a"),
        *("-fps_mode", "passthrough", "-f", "framecrc", "-"),
    )
    kinds = dict(re.findall(r"^#media_type (\d+): (\w+)$", printed, re.MULTILINE))
    rows = [line.replace(" ", "").split(",") for line in printed.splitlines() if not line.startswith("#")]
    assert [row for row in rows if len(row) < 6 or row[0] not in kinds] == []

    pictures = Counter((row[0], int(row[4])) for row in rows if kinds[row[0]] == "video")
    assert Counter(pictures.values()) == Counter(sum(part.samples for part in track.segments) for track in video)
    depth = {True: Fraction(3, 2), False: Fraction(3)}  # bytes per pixel in 4:2:0, with 8 and with 10 bits
    wanted = [t.rendition.width_px * t.rendition.height_px * depth["10" not in t.rendition.pixel_format] for t in video]
    assert sorted(size for _, size in pictures) == sorted(wanted)

    heard: Counter[str] = Counter()
    for row in rows:
        if kinds[row[0]] == "audio":
            heard[row[0]] += int(row[3])
    assert len(heard) == len(audio)
    programme = round(served.presentation.grid.duration_s * 48000)
    longest_frame = max(samples(track)[1] for track in audio)
    assert {samples(track)[0] for track in audio} == {programme}
    assert all(abs(count - programme) <= longest_frame for count in heard.values()), heard


GSTREAMER = "gstreamer1.0-tools, with gstreamer1.0-plugins-good, -bad and -libav"


@each_manifest
def test_gstreamer_plays_to_the_end(served: Served, manifest: str) -> None:
    printed = output(
        program("gst-launch-1.0", GSTREAMER, "fakesrc", "num-buffers=1", "!", "fakesink"),
        *("-v", "playbin3", f"uri={served.url}/{TITLE}/{manifest}"),
        *("video-sink=fakesink name=pictures sync=false silent=false", "audio-sink=fakesink name=sounds sync=false"),
    )
    shown = set(re.findall(r"pictures: last-message = chain .* pts: ([0-9:.]+)", printed))
    assert len(shown) == served.presentation.grid.frame_count
    assert "Got EOS" in printed


@each_manifest
def test_mpv_plays_to_the_end(served: Served, manifest: str) -> None:
    printed = output(
        program("mpv", "mpv", "--version"),
        *("--no-config", "--vo=null", "--ao=null", "--untimed", "--msg-level=all=warn"),
        *("--msg-level=cplayer=info,statusline=status", "--term-status-msg=at ${=time-pos} of ${=duration}."),
        f"{served.url}/{TITLE}/{manifest}",
    )
    times = re.findall(r"at ([0-9.]+) of ([0-9.]+)\.", printed)
    assert times, printed
    duration_s = float(served.presentation.grid.duration_s)
    assert float(times[-1][0]) == pytest.approx(duration_s, abs=0.1)
    assert float(times[-1][1]) == pytest.approx(duration_s, abs=0.1)
    assert "(End of file)" in printed


SILENT = ("--intf=dummy", "--vout=dummy", "--aout=dummy")
NO_STREAM = "adaptive demux error: Failed to create demuxer (nil) Unknown"


@each_manifest
def test_vlc_plays_to_the_end(served: Served, manifest: str) -> None:
    printed = output(
        *(
            program("cvlc", "vlc-bin, with vlc-plugin-base", *SILENT, "vlc://quit", user=NOBODY),
            "-vv",
            "--play-and-exit",
        ),
        *(*SILENT, "--codec=avcodec"),  # no digital output, so sound is decoded
        f"{served.url}/{TITLE}/{manifest}",
        user=NOBODY,
    )
    # VLC treats DASH's thumbnails as a stream, requests a sheet, and ignores it.
    errors = re.findall(r"(?:demux|stream|adaptive) error: (.*)", printed.replace(NO_STREAM, "", 1))
    assert errors == []
    assert "Received first picture" in printed
    asked = re.findall(r"^GET \S+/([^/]+)/([0-9]+)\.m4s", printed, re.MULTILINE)
    numbers = list(range(1, len(served.presentation.video[0].segments) + 1))
    for tracks in (served.presentation.video, served.presentation.audio):
        of_kind = {track.id for track in tracks}
        assert sorted({int(number) for rendition, number in asked if rendition in of_kind}) == numbers
    assert "EOF reached" in printed
