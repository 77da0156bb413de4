"""Commands that workers derive from a task's command; no encoder runs."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from encoder.command import SourcePicture, VideoCommands
from encoder.conforming import conform
from encoder.picture.colour import complete_colour
from encoder.reencoding import Reencode, bounds, encode_finer, first_pass, reencode
from headend.core.media import Codec, Effort, VideoRendition
from headend.core.rates import Bound
from headend.core.timing import plan_grid
from tests.support.makers import make_master, make_video_rendition, make_video_track

GRID = plan_grid(Fraction(24), 48, segment_s=Fraction(1), chunk_s=Fraction(2))
AVC = make_video_rendition(id="avc", codec=Codec.AVC, average_bps=600_000)
VP9 = make_video_rendition(id="vp9", codec=Codec.VP9, average_bps=300_000)


def argv_of(renditions: Sequence[VideoRendition], effort: Effort = Effort.STANDARD) -> tuple[str, ...]:
    track = make_video_track(frame_count=48)
    look = SourcePicture(conform(track), complete_colour(track)[0])
    return VideoCommands(make_master(), look, GRID, effort).encode(GRID.chunks()[0], renditions)


def option(argv: Sequence[str], name: str) -> list[str]:
    return [value for word, value in pairwise(argv) if word == f"-{name}"]


def graph(argv: Sequence[str]) -> str:
    return option(argv, "filter_complex")[0]


def again(rendition: str, *factors: Fraction) -> Reencode:
    return Reencode(rendition, 24, 48, factors or (Fraction(9, 10),))


def test_caps_are_read_from_the_command() -> None:
    found = bounds(argv_of([AVC, VP9]), Fraction(6))

    assert found == {r.id: Bound(r.cap_bps, r.buffer_bits, Fraction(6)) for r in (AVC, VP9)}


def test_only_encoders_of_two_passes_read_the_chunk_first() -> None:
    argv = first_pass(argv_of([AVC, VP9]))

    assert option(argv, "c:v") == ["libvpx-vp9"]
    assert option(argv, "pass") == ["1"]
    assert option(argv, "f") == ["null"]
    assert "-movflags" not in argv
    # The other encoder's branch of the graph is removed too.
    assert graph(argv).count("nullsink") == 1
    assert graph(argv).startswith(graph(argv_of([AVC, VP9])))


def test_no_first_pass_without_such_an_encoder() -> None:
    assert first_pass(argv_of([AVC])) == ()
    assert first_pass(argv_of([AVC, VP9], Effort.DRAFT)) == ()


def test_outputs_of_two_passes_come_first_as_their_logs_are_named_by_place() -> None:
    argv = argv_of([AVC, VP9])

    for whole in (argv, reencode(argv, [again("avc"), again("vp9")])):
        assert [word for word in whole if word.endswith(".mp4")] == ["{scratch}/vp9.mp4", "{scratch}/avc.mp4"]
        assert option(whole, "passlogfile") == option(first_pass(whole), "passlogfile") == ["{scratch}/vp9"]


def test_segment_is_encoded_again_with_less_rate_and_the_same_quality() -> None:
    argv = reencode(argv_of([AVC, VP9]), [again("avc", Fraction(1, 2))])

    assert option(argv, "maxrate") == [str(AVC.cap_bps // 2)]
    assert option(argv, "bufsize") == [str(AVC.buffer_bits // 2)]
    assert option(argv, "crf") == [str(AVC.crf)]
    assert "trim=start_frame=24:end_frame=48,setpts=PTS-STARTPTS" in graph(argv)
    assert argv[-1] == "{scratch}/avc.mp4"


def test_a_chunk_below_the_floor_gets_a_lower_rate_factor_and_keeps_its_cap() -> None:
    argv = argv_of([AVC, VP9])

    finer = encode_finer(argv, {"vp9"})

    assert option(finer, "crf") == [str(VP9.crf - 8)]
    assert option(finer, "maxrate") == [str(VP9.cap_bps)]
    assert [word for word in finer if word.endswith(".mp4")] == ["{scratch}/vp9.mp4"]
    assert "nullsink" in graph(finer)  # the other rendition is not encoded
    assert option(encode_finer(argv, {"avc"}), "crf") == [str(AVC.crf - 4)]


def test_rate_factor_is_never_lower_than_encoders_take() -> None:
    argv = argv_of([replace(AVC, crf=3.0)])

    assert option(encode_finer(argv, {"avc"}), "crf") == ["1.0"]


def test_options_that_decide_the_init_segment_stay() -> None:
    argv = argv_of([AVC])
    derived = reencode(argv, [again("avc")])

    changed = {"-map", "-maxrate", "-bufsize", "-filter_complex"}
    pairs = [set(pairwise(words)) for words in (argv, derived)]
    assert {name for name, _ in pairs[0] ^ pairs[1] if name.startswith("-")} <= changed


def test_constant_quality_becomes_an_average_below_the_cap() -> None:
    for effort in (Effort.DRAFT, Effort.STANDARD):
        argv = reencode(argv_of([VP9], effort), [again("vp9", Fraction(1, 3))])

        assert option(argv, "b:v") == [str(int(VP9.cap_bps * 0.95))]
        assert option(argv, "crf") == []
        assert option(argv, "deadline") == ["good"]
        assert option(argv, "pass") == ["2"]
        assert first_pass(argv)


def test_a_last_picture_that_is_shown_for_less_than_its_encoder_thinks_has_fewer_bits() -> None:
    argv = reencode(argv_of([VP9]), [Reencode("vp9", 24, 48, (Fraction(9, 10),), share=Fraction(7, 8))])

    assert option(argv, "maxrate") == [str(VP9.cap_bps * 7 // 8)]
    assert option(argv, "b:v") == [str(int(VP9.cap_bps * 7 // 8 * 0.95))]


def test_later_attempts_shrink_segments_that_are_still_too_large() -> None:
    factors = (Fraction(1, 2), Fraction(4, 5))

    assert option(reencode(argv_of([AVC]), [again("avc", *factors)]), "maxrate") == [str(int(AVC.cap_bps * 0.4))]
    assert option(reencode(argv_of([VP9]), [again("vp9", *factors)]), "maxrate") == [str(int(VP9.cap_bps * 0.8))]


def test_last_attempts_take_away_detail() -> None:
    half = Fraction(1, 2)
    graphs = [graph(reencode(argv_of([AVC]), [again("avc", *[half] * attempt)])) for attempt in (2, 3, 4, 5, 6)]

    assert [part.partition("gblur=sigma=")[2].partition("[")[0] for part in graphs] == ["", "1", "2", "4", "8"]


def test_segment_is_the_same_in_every_group_of_renditions() -> None:
    alone = replace(AVC, id="alone")
    for others in ([], [VP9], [VP9, replace(AVC, id="other", crf=40.0)]):
        argv = reencode(argv_of([*others, alone]), [again("alone")])
        words = list(argv[argv.index("-map") + 2 :])
        assert words == list(reencode(argv_of([alone]), [again("alone")])[-len(words) :])
