"""Cutting encoded files into segments: samples are kept, fragments off the grid are refused, sound doesn't drift."""

import contextlib
import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path

import av
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headend.core import boxes
from headend.core.boxes import box
from headend.core.errors import ChunkRejected, HeadendError, PackagingError, PlanMismatch
from headend.core.media import Codec, Loudness, VideoRendition
from headend.core.timing import Chunk, Grid, ceil_div, plan_grid
from packager.fragments import Sample, fragment_bytes, read_fragments
from packager.segmenting.cut import Cut
from packager.segmenting.sound import cut_audio
from packager.segmenting.video import REORDER_FRAMES, cut_video
from tests.support.encodes import Film, encode_chunk, encode_sound, probe_film
from tests.support.frame_numbers import read_frame_number
from tests.support.makers import make_audio_rendition, make_video_rendition
from tests.support.masters import Sound, make_film
from tests.support.playback import frame_numbers

GRID = Grid(Fraction(24), frame_count=60, gop_frames=12, segment_frames=24, chunk_frames=48)
"""Two segments of two GOPs in the first chunk, one segment of one GOP in the second."""
FRAME_TICKS = 1000
AVC = make_video_rendition(id="avc", width_px=160, height_px=90, average_bps=200_000, level="1.2")
RENDITIONS = (
    AVC,
    replace(AVC, id="avc-half", frame_rate=Fraction(12), rate_divisor=2),
    make_video_rendition(id="hevc", codec=Codec.HEVC, width_px=160, height_px=90, average_bps=200_000, level="2.0"),
    make_video_rendition(id="vp9", codec=Codec.VP9, width_px=160, height_px=90, average_bps=200_000, level="1.0"),
)
IDS = {rendition.id: rendition for rendition in RENDITIONS}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Real encodes of a numbered film by chunk and rendition, and its sound."""

    film: Film
    chunks: tuple[dict[str, bytes], ...]
    sound: bytes


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    folder = tmp_path_factory.mktemp("segmenting")
    master = make_film(
        folder / "film.mkv", frame_rate=Fraction(24), frame_count=60, size=(160, 90), sound=[Sound(codec="pcm_s16le")]
    )
    film = replace(probe_film(master), grid=GRID)
    files = tuple(encode_chunk(film, chunk, RENDITIONS, folder / str(chunk.number)) for chunk in film.chunks)
    return Encoded(film, files, encode_sound(film, [make_audio_rendition(id="aac")], folder / "sound")["aac"])


def cut(
    data: bytes,
    *,
    grid: Grid = GRID,
    chunk: Chunk | None = None,
    rendition: VideoRendition = AVC,
    vp9_level: str | None = None,
) -> Cut:
    return cut_video(
        memoryview(bytearray(data)),
        rendition=rendition.id,
        grid=grid,
        chunk=chunk or grid.chunks()[0],
        rate_divisor=rendition.rate_divisor,
        vp9_level=vp9_level,
    )


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda rendition: rendition.id)
def test_segments_of_all_chunks_play_as_one(rendition: VideoRendition, encoded: Encoded) -> None:
    cuts = [
        cut(files[rendition.id], chunk=chunk, rendition=rendition)
        for files, chunk in zip(encoded.chunks, GRID.chunks(), strict=True)
    ]
    parts = [part for each in cuts for part in each.track.segments]

    assert cuts[0].init == cuts[1].init
    assert [part.number for part in parts] == [1, 2, 3]
    assert [part.start_ticks for part in parts] == [0, 24_000, 48_000]
    assert [part.duration_ticks for part in parts] == [24_000, 24_000, 12_000]
    assert [part.samples for part in parts] == [count // rendition.rate_divisor for count in (24, 24, 12)]
    whole = cuts[0].init + b"".join(bytes(body) for each in cuts for body in each.bodies)
    assert frame_numbers(whole) == list(range(0, 60, rendition.rate_divisor))


def test_fragments_have_the_sequence_number_and_decode_time_of_their_place_in_the_title(encoded: Encoded) -> None:
    for files, chunk in zip(encoded.chunks, GRID.chunks(), strict=True):
        packaged = cut(files["avc"], chunk=chunk)
        found = [fragment for body in packaged.bodies for fragment in read_fragments(body)]
        first_gop = chunk.first_frame // GRID.gop_frames
        assert [fragment.sequence for fragment in found] == [first_gop + 1 + number for number in range(len(found))]
        assert [fragment.decode_ticks for fragment in found] == [
            (first_gop + number) * GRID.gop_frames * FRAME_TICKS for number in range(len(found))
        ]


def edit_of(init: bytes) -> int | None:
    """Return the media time at which the track starts, from its edit list."""
    for elst in boxes.find_all(init, "moov/trak/edts/elst"):
        flags, count, duration, media_ticks, rate = struct.unpack_from(">IIIiI", init, elst.body)
        assert (flags, count, duration, rate) == (0, 1, 0, 1 << 16)
        return int(media_ticks)
    return None


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("rendition", RENDITIONS, ids=IDS)
def test_samples_are_as_the_encoder_wrote_them(rendition: VideoRendition, number: int, encoded: Encoded) -> None:
    before = encoded.chunks[number][rendition.id]
    packaged = cut(before, chunk=GRID.chunks()[number], rendition=rendition)
    after = b"".join(packaged.bodies)
    shift_ticks = 0 if rendition.codec is Codec.VP9 else REORDER_FRAMES * FRAME_TICKS * rendition.rate_divisor

    def samples(data: bytes, shift: int) -> list[tuple[Sample, bytes]]:
        found = []
        for fragment in read_fragments(data):
            at = fragment.media
            for sample in fragment.samples:
                media = data[at : at + sample.size_bytes]
                found.append((sample._replace(composition_ticks=sample.composition_ticks + shift), media))
                at += sample.size_bytes
        return found

    assert samples(after, 0) == samples(before, shift_ticks)
    assert edit_of(packaged.init) == (shift_ticks or None)
    assert all(sample.composition_ticks >= 0 for sample, _ in samples(after, 0))


@pytest.mark.parametrize("rendition", RENDITIONS, ids=IDS)
def test_a_demuxer_shows_each_frame_at_its_time(rendition: VideoRendition, encoded: Encoded) -> None:
    packaged = cut(encoded.chunks[0][rendition.id], chunk=GRID.chunks()[0], rendition=rendition)
    with av.open(io.BytesIO(packaged.init + b"".join(packaged.bodies))) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times == [n * FRAME_TICKS for n in range(0, GRID.chunks()[0].frame_count, rendition.rate_divisor)]


def test_a_sync_range_holds_exactly_one_picture(encoded: Encoded) -> None:
    packaged = cut(encoded.chunks[0]["avc"])
    for body, part in zip(packaged.bodies, packaged.track.segments, strict=True):
        first = (part.number - 1) * GRID.segment_frames
        assert [first_picture(packaged.init + bytes(body[at : at + length])) for at, length in part.sync] == [
            first, first + GRID.gop_frames,
        ]  # fmt: skip
        for at, length in part.sync:
            assert not packets_of(packaged.init + bytes(body[at : at + length - 1]))


def packets_of(data: bytes) -> list[av.Packet]:
    """Return the complete coded frames in a truncated file."""
    found: list[av.Packet] = []
    with av.open(io.BytesIO(data)) as container, contextlib.suppress(av.FFmpegError):
        found.extend(packet for packet in container.demux(video=0) if packet.size and not packet.is_corrupt)
    return found


def first_picture(data: bytes) -> int | None:
    """Return the number that is drawn in the only picture of a file that ends after its first coded frame."""
    (packet,) = packets_of(data)
    decoder = av.CodecContext.create("h264", "r")
    with av.open(io.BytesIO(data)) as container:
        decoder.extradata = container.streams.video[0].codec_context.extradata
    (picture,) = [*decoder.decode(packet), *decoder.decode(None)]
    assert picture.key_frame
    return read_frame_number(picture.to_ndarray()[: picture.height, : picture.width])


def test_the_track_states_sizes_rates_and_digests_of_its_segments(encoded: Encoded) -> None:
    packaged = cut(encoded.chunks[0]["avc"])
    track = packaged.track

    assert [part.size_bytes for part in track.segments] == [len(body) for body in packaged.bodies]
    assert track.init_bytes == len(packaged.init)
    bits = 8 * sum(part.size_bytes for part in track.segments)
    assert track.average_bps == ceil_div(bits, 2)
    assert track.peak_bps == max(8 * part.size_bytes for part in track.segments)
    assert len({part.sha256 for part in track.segments} | {track.init_sha256}) == 3


def test_the_vp9_level_is_written_and_nothing_else_changes(encoded: Encoded) -> None:
    plain, stated = (cut(encoded.chunks[0]["vp9"], vp9_level=level).init for level in (None, "5.1"))

    changed = [at for at, (a, b) in enumerate(zip(plain, stated, strict=True)) if a != b]
    assert len(changed) == 1
    assert stated[changed[0]] == 51
    with pytest.raises(ChunkRejected, match="without vpcC"):
        cut(encoded.chunks[0]["avc"], vp9_level="5.1")


@pytest.mark.parametrize("end_frame", [36, 47, 49, 60])
def test_a_wrong_number_of_frames_is_refused(end_frame: int, encoded: Encoded) -> None:
    with pytest.raises(ChunkRejected, match=f"avc: chunk 0 has 48 frames, not {end_frame}"):
        cut(encoded.chunks[0]["avc"], chunk=Chunk(0, 0, end_frame, 1))


@pytest.mark.parametrize("gop_frames", [6, 24, 48])
def test_gops_off_the_grid_are_refused(gop_frames: int, encoded: Encoded) -> None:
    other = replace(GRID, gop_frames=gop_frames, segment_frames=48)
    with pytest.raises(ChunkRejected, match="GOP 0 of chunk 0 is not on the grid"):
        cut(encoded.chunks[0]["avc"], grid=other)


def with_flags(data: bytes, *, gop: int, first: int | None = None, others: int | None = None) -> bytes:
    """Change the flags of a fragment's first sample in its ``trun``, or those of all others in its ``tfhd``."""
    changed = bytearray(data)
    moof = list(boxes.find_all(data, "moof"))[gop]
    tfhd, trun = boxes.find(data, "traf/tfhd", moof), boxes.find(data, "traf/trun", moof)
    assert struct.unpack_from(">I", data, trun.body)[0] & 0x4  # first-sample-flags-present
    if first is not None:
        struct.pack_into(">I", changed, trun.body + 12, first)
    if others is not None:
        struct.pack_into(">I", changed, tfhd.end - 4, others)
    return bytes(changed)


def test_a_gop_without_a_sync_frame_is_refused(encoded: Encoded) -> None:
    with pytest.raises(ChunkRejected, match="GOP 2 of chunk 0 is not on the grid"):
        cut(with_flags(encoded.chunks[0]["avc"], gop=2, first=0x01010000))


def test_a_second_sync_frame_in_a_gop_is_refused(encoded: Encoded) -> None:
    with pytest.raises(ChunkRejected, match="GOP 1 of chunk 0 is not on the grid"):
        cut(with_flags(encoded.chunks[0]["avc"], gop=1, others=0x02000000))


def test_a_fragment_at_another_time_is_refused(encoded: Encoded) -> None:
    changed = bytearray(encoded.chunks[0]["avc"])
    tfdt = [boxes.find(changed, "traf/tfdt", moof) for moof in boxes.find_all(changed, "moof")][3]
    struct.pack_into(">Q", changed, tfdt.body + 4, 36_001)
    with pytest.raises(ChunkRejected, match="GOP 3"):
        cut(bytes(changed))


def test_another_timescale_is_refused(encoded: Encoded) -> None:
    with pytest.raises(ChunkRejected, match="another timescale"):
        cut(encoded.chunks[0]["avc"], grid=replace(GRID, frame_rate=Fraction(25)))


def test_a_file_without_frames_is_refused(encoded: Encoded) -> None:
    data = encoded.chunks[0]["avc"]
    with pytest.raises(ChunkRejected, match="wrote no frames"):
        cut(data[: next(boxes.find_all(data, "moof")).start])
    with pytest.raises(ChunkRejected, match="wrote no frames"):
        cut(b"")


def test_samples_outside_of_their_mdat_are_refused(encoded: Encoded) -> None:
    changed = bytearray(encoded.chunks[0]["avc"])
    trun = boxes.find(changed, "traf/trun", boxes.find(changed, "moof"))
    struct.pack_into(">i", changed, trun.body + 8, 10**6)
    with pytest.raises(ChunkRejected, match="outside of its mdat"):
        cut(bytes(changed))


# --- sound --------------------------------------------------------------------------------------------------------


def sound_file(sizes: Sequence[int], *, frame: int, rate_hz: int, priming: int, per_fragment: int) -> bytes:
    """Make a fragmented file of sound like FFmpeg's; the bytes of each codec frame count up from its number."""
    mdhd = box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, rate_hz, 0, 0))
    elst = box(b"elst", struct.pack(">IIIiI", 0, 1, 0, priming, 1 << 16))
    init = box(b"moov", box(b"trak", box(b"edts", elst) + box(b"mdia", mdhd)))
    parts = [init]
    for first in range(0, len(sizes), per_fragment):
        group = sizes[first : first + per_fragment]
        media = b"".join(coded(first + number, size) for number, size in enumerate(group))
        parts.append(fragment_bytes(first + 1, first * frame, [Sample(frame, size, True, 0) for size in group], media))
    return b"".join(parts)


def coded(number: int, size: int) -> bytes:
    return bytes((number + index) % 256 for index in range(size))


grids = st.builds(
    lambda rate, count, segment_s: plan_grid(rate, count, segment_s=segment_s, chunk_s=Fraction(30)),
    st.sampled_from(
        [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120), Fraction(10)]
    ),
    st.integers(1, 1500),
    st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(2), Fraction(6)]),
)


@settings(deadline=None, max_examples=25)
@given(
    grid=grids,
    frame=st.sampled_from([960, 1024, 1536, 2048]),
    rate_hz=st.sampled_from([44_100, 48_000]),
    priming=st.integers(0, 2048),
    padding=st.integers(0, 2),
    per_fragment=st.integers(1, 200),
)
@example(
    grid=plan_grid(Fraction(60000, 1001), 60 * 120, segment_s=Fraction(2), chunk_s=Fraction(30)),
    frame=1024, rate_hz=48_000, priming=1024, padding=1, per_fragment=2812,
)  # fmt: skip
def test_sound_is_cut_nearest_to_the_picture_and_never_drifts(
    grid: Grid, frame: int, rate_hz: int, priming: int, padding: int, per_fragment: int
) -> None:
    programme = round(grid.duration_s * rate_hz)
    needed = ceil_div(programme + priming, frame)
    sizes = [1 + number % 5 for number in range(needed + padding)]
    data = sound_file(sizes, frame=frame, rate_hz=rate_hz, priming=priming, per_fragment=per_fragment)

    packaged = cut_audio(memoryview(data), rendition="aac", grid=grid, sample_rate_hz=rate_hz, frame_samples=frame)

    parts = packaged.track.segments
    assert packaged.track.priming_samples == priming
    assert len(parts) == grid.segment_count
    assert sum(part.duration_ticks for part in parts) - priming == programme
    assert parts[0].start_ticks == 0
    assert all(before.start_ticks + before.duration_ticks == after.start_ticks for before, after in pairwise(parts))
    for part, start_s in zip(parts[1:], grid.segment_starts_s()[1:], strict=False):
        assert abs(part.start_ticks - priming - start_s * rate_hz) <= Fraction(frame, 2)
    assert sum(part.samples for part in parts) == needed

    read = [fragment for body in packaged.bodies for fragment in read_fragments(body)]
    assert [fragment.sequence for fragment in read] == [part.number for part in parts]
    assert [fragment.decode_ticks for fragment in read] == [part.start_ticks for part in parts]
    assert [fragment.duration_ticks for fragment in read] == [part.duration_ticks for part in parts]
    media = b"".join(bytes(body[each.media : each.end]) for body in packaged.bodies for each in read_fragments(body))
    assert media == b"".join(coded(number, size) for number, size in enumerate(sizes[:needed]))


@settings(deadline=None, max_examples=50)
@given(
    sequence=st.integers(0, 2**32 - 1),
    decode_ticks=st.integers(0, 2**64 - 1),
    frame=st.integers(1, 4096),
    last=st.integers(1, 4096),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_a_written_fragment_is_read_back(
    sequence: int, decode_ticks: int, frame: int, last: int, sizes: list[int]
) -> None:
    media = b"".join(coded(number, size) for number, size in enumerate(sizes))
    lasting = [*[frame] * (len(sizes) - 1), last]
    samples = [Sample(duration, size, True, 0) for duration, size in zip(lasting, sizes, strict=True)]
    data = b"\0\0\0\x08free" + fragment_bytes(sequence, decode_ticks, samples, media)

    (read,) = read_fragments(data)

    assert (read.start, read.end, read.sequence, read.decode_ticks) == (8, len(data), sequence, decode_ticks)
    assert data[read.media : read.end] == media
    assert list(read.samples) == samples


SECOND = plan_grid(Fraction(25), 25, segment_s=Fraction(2), chunk_s=Fraction(2))


@pytest.mark.parametrize("codec_frames", [1, 46, 47, 52, 100])
def test_sound_that_is_too_short_or_too_long_is_refused(codec_frames: int) -> None:
    # 48,000 samples and 1,024 of priming need 48 codec frames; encoders may add silence and padding, up to 51 frames.
    data = sound_file([3] * codec_frames, frame=1024, rate_hz=48_000, priming=1024, per_fragment=20)
    with pytest.raises(ChunkRejected, match=f"{codec_frames} codec frames of 1024 samples"):
        cut_audio(memoryview(data), rendition="aac", grid=SECOND, sample_rate_hz=48_000, frame_samples=1024)


def test_sound_of_another_rate_than_planned_is_refused() -> None:
    data = sound_file([3] * 48, frame=1024, rate_hz=44_100, priming=0, per_fragment=20)
    with pytest.raises(PlanMismatch, match="another sample rate"):
        cut_audio(memoryview(data), rendition="aac", grid=SECOND, sample_rate_hz=48_000, frame_samples=1024)


@pytest.mark.parametrize("frame", [0, 1023, 1025, 2048])
def test_codec_frames_of_another_length_than_the_codecs_are_refused(frame: int) -> None:
    data = sound_file([3] * 48, frame=frame, rate_hz=48_000, priming=0, per_fragment=48)
    with pytest.raises(PlanMismatch, match=f"lasts {frame} samples, but the codec's 1024"):
        cut_audio(memoryview(data), rendition="aac", grid=SECOND, sample_rate_hz=48_000, frame_samples=1024)


def test_a_gap_between_fragments_of_sound_is_refused() -> None:
    data = bytearray(sound_file([3] * 48, frame=1024, rate_hz=48_000, priming=0, per_fragment=20))
    tfdt = [boxes.find(data, "traf/tfdt", moof) for moof in boxes.find_all(data, "moof")][1]
    struct.pack_into(">Q", data, tfdt.body + 4, 20 * 1024 + 1)
    with pytest.raises(PlanMismatch, match="sound at 20481 samples should be at 20480"):
        cut_audio(memoryview(data), rendition="aac", grid=SECOND, sample_rate_hz=48_000, frame_samples=1024)


# --- garbage ------------------------------------------------------------------------------------------------------

random_change = st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8))


def headers_of(data: bytes) -> list[int]:
    """Return the offsets of all bytes outside ``mdat`` boxes."""
    return [at for box in boxes.children(data) if box.kind != "mdat" for at in range(box.start, box.end)]


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_a_damaged_file_raises_nothing_but_headend_errors(kind: str, encoded: Encoded) -> None:
    data = encoded.chunks[0]["avc"] if kind == "picture" else encoded.sound
    places = headers_of(data)

    @settings(deadline=None, max_examples=120)
    @given(st.lists(random_change, min_size=1, max_size=3), st.one_of(st.none(), st.floats(0, 1)))
    def refused_or_cut(changes: list[tuple[float, bytes]], end: float | None) -> None:
        damaged = bytearray(data)
        for where, what in changes:
            at = places[int(where * (len(places) - 1))]
            damaged[at : at + len(what)] = what
        if end is not None:
            del damaged[int(end * len(damaged)) :]
        with contextlib.suppress(HeadendError):
            if kind == "picture":
                cut(bytes(damaged))
            else:
                cut_audio(memoryview(damaged), rendition="aac", grid=GRID, sample_rate_hz=48_000, frame_samples=1024)

    refused_or_cut()


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_noise_is_refused_with_a_headend_error(noise: bytes) -> None:
    with pytest.raises(HeadendError):
        cut(noise)
    with pytest.raises(HeadendError):
        cut_audio(memoryview(noise), rendition="aac", grid=GRID, sample_rate_hz=48_000, frame_samples=1024)


@pytest.mark.parametrize("kind", [b"mfhd", b"tfhd", b"tfdt", b"trun"])
def test_an_empty_box_where_numbers_must_be_is_refused(kind: bytes) -> None:
    traf = b"".join(box(each, b"" if each == kind else bytes(8)) for each in (b"tfhd", b"tfdt", b"trun"))
    mfhd = box(b"mfhd", b"" if kind == b"mfhd" else bytes(8))
    data = box(b"mdat", b"") + box(b"moof", mfhd + box(b"traf", traf)) + box(b"mdat", b"")
    with pytest.raises((ChunkRejected, PackagingError)):
        list(read_fragments(data))


def test_a_file_being_cut_does_not_count_as_memory(tmp_path: Path) -> None:
    """A film's sound may be hundreds of megabytes."""
    grid = plan_grid(Fraction(25), 25 * 60, segment_s=Fraction(2), chunk_s=Fraction(2))
    path = tmp_path / "sound.mp4"
    path.write_bytes(sound_file([500] * 2813, frame=1024, rate_hz=48_000, priming=0, per_fragment=1000))
    with path.open("rb") as file:
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
    packaged = cut_audio(memoryview(data), rendition="aac", grid=grid, sample_rate_hz=48_000, frame_samples=1024)
    assert sum(len(body) for body in packaged.bodies) > 2812 * 500

    mapped = Path("/proc/self/smaps").read_text().partition(str(path))[2]
    assert int(re.findall(r"Rss: *(\d+) kB", mapped)[0]) == 0


def loud(result_lufs: float | None, result_dbtp: float | None) -> Loudness:
    return Loudness("2.0", -27.0, 9.0, -6.0, 3.0, False, result_lufs, result_dbtp, -24)


def test_sound_states_its_loudness(encoded: Encoded) -> None:
    """The ``tlou`` box is parsed bit by bit as in ISO/IEC 14496-12, section 12.2.7.2."""
    packaged = cut_audio(
        memoryview(encoded.sound),
        rendition="aac",
        grid=GRID,
        sample_rate_hz=48_000,
        frame_samples=1024,
        loudness=loud(-24.1, -3.5),
    )
    found = boxes.find(packaged.init, "moov/trak")
    for kind in ("udta", "ludt", "tlou"):
        found = next(box for box in boxes.children(packaged.init, found.body, found.end) if box.kind == kind)
    bits = iter(f"{int.from_bytes(packaged.init[found.body : found.end]):0{8 * (found.end - found.body)}b}")
    widths = (8, 24, 3, 7, 6, 12, 12, 4, 4, 8, 8, 8, 4, 4)
    *head, peak, peak_system, _, count, method, value, system, _ = (
        int("".join(next(bits) for _ in range(width)), 2) for width in widths
    )
    assert (head, next(bits, None)) == ([0] * 6, None)
    assert (peak_system, count, method, system) == (2, 1, 1, 2)
    assert 20 - peak / 32 == pytest.approx(-3.5, abs=1 / 64)
    assert value / 4 - 57.75 == pytest.approx(-24.1, abs=1 / 8)
    assert next(boxes.find_all(packaged.init, "moov/mvex"), None) is not None
    with av.open(io.BytesIO(packaged.init + b"".join(packaged.bodies))) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 2.5 * 48_000
    assert packaged.track.init_bytes == len(packaged.init)


def test_silence_states_no_loudness(encoded: Encoded) -> None:
    packaged = cut_audio(
        memoryview(encoded.sound),
        rendition="aac",
        grid=GRID,
        sample_rate_hz=48_000,
        frame_samples=1024,
        loudness=loud(None, None),
    )
    assert b"ludt" not in packaged.init
