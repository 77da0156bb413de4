"""Computed numbers of samples in packets, compared with a decoder's."""

from pathlib import Path

import av
import pytest

from encoder.timelines import opus, samples
from tests.support.masters import Sound, make_sound


@pytest.mark.parametrize(
    ("codec", "layout"),
    [("libopus", layout) for layout in ("mono", "stereo", "5.1")]
    + [("libvorbis", layout) for layout in ("mono", "stereo", "5.1")],
)
def test_packets_hold_as_many_samples_as_are_decoded(tmp_path: Path, codec: str, layout: str) -> None:
    path = make_sound(tmp_path / "sound.mka", sound=(Sound(codec=codec, layout=layout),))
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        count = samples.make_counter(codec.removeprefix("lib"), stream.codec_context.extradata or b"")
        assert count is not None
        counted = decoded = 0
        for packet in container.demux(stream):
            if packet.size and not packet.has_sidedata("skip_samples"):
                counted += count(bytes(packet)[:16])
                decoded += sum(frame.samples for frame in packet.decode())

    assert counted > 48_000
    assert abs(counted - decoded) <= 960


@pytest.mark.parametrize("header", [b"", b"\2", b"\2\xff", b"\0\x1e", b"\2\x1e\x10" + bytes(200), bytes(40)])
def test_a_damaged_vorbis_header_states_nothing(header: bytes) -> None:
    assert samples.make_counter("vorbis", header) is None


@pytest.mark.parametrize("packet", [b"", b"\xff", b"\x03", b"\xfc\xff\xfe", bytes(range(256)), b"\xff" * 300])
def test_no_packet_of_opus_crashes_the_reader(packet: bytes) -> None:
    samples.opus_samples(packet)
    opus.describe_streams(packet, b"OpusHead" + bytes(11))
