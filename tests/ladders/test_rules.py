from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headend.core.media import AudioRung, Codec
from ladders.ladder import FramePolicy, Ladder, RungRange, VideoRung
from ladders.loading import load
from ladders.rules import RULES, check

WEB = load("web")
LOW, *_, HIGH = WEB.video


def with_video(*rungs: VideoRung) -> Ladder:
    return replace(WEB, video=rungs)


def with_rung(number: int, **changes: Any) -> Ladder:
    video = list(WEB.video)
    video[number] = replace(video[number], **changes)
    return replace(WEB, video=tuple(video))


def with_family(**changes: Any) -> Ladder:
    return replace(WEB, families=(replace(WEB.families[0], **changes),))


def with_audio(*rungs: AudioRung) -> Ladder:
    return replace(WEB, audio=(*WEB.audio, *rungs))


# Each maker breaks one rule of a valid ladder.
OFFENDERS: dict[str, Callable[[], Ladder]] = {
    "codec": lambda: replace(WEB, audio=(*WEB.audio, AudioRung(Codec.AVC, "2.0", 128))),
    "family": lambda: replace(WEB, families=()),
    "format": lambda: with_family(bit_depth=10),
    "hdr-depth": lambda: with_video(*WEB.video, *(replace(r, range=RungRange.HDR, default=False) for r in WEB.video)),
    "factors": lambda: with_family(above_30p=0.9),
    "even-size": lambda: with_rung(1, width_px=641),
    "one-shape": lambda: with_rung(1, width_px=480),
    "unique-id": lambda: with_audio(WEB.audio[0]),
    "ascending": lambda: with_video(*reversed(WEB.video)),
    "apart": lambda: with_video(*WEB.video, replace(HIGH, average_kbps=6500, crf=HIGH.crf - 1)),
    "crf-range": lambda: with_rung(0, crf=52.0),
    "crf-order": lambda: with_video(*WEB.video, replace(HIGH, average_kbps=7800)),
    "rising": lambda: with_rung(2, crf=37.0),
    "cap": lambda: with_rung(0, cap_kbps=90),
    "buffer": lambda: with_rung(0, buffer_kb=84),
    "coverage": lambda: with_video(replace(LOW, default=True)),
    "video-default": lambda: with_rung(0, default=True),
    "audio-default": lambda: replace(WEB, audio=(AudioRung(Codec.OPUS, "2.0", 96, default=True),)),
    "dolby-fallback": lambda: with_audio(AudioRung(Codec.EAC3, "5.1", 192)),
    "audio-rate": lambda: with_audio(AudioRung(Codec.AC3, "2.0", 200)),
    "cellular-floor": lambda: with_rung(0, cap_kbps=158),
}


def test_every_rule_has_a_test_case_here() -> None:
    assert list(OFFENDERS) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", OFFENDERS)
def test_each_test_case_breaks_exactly_one_rule(rule: str) -> None:
    findings = check(OFFENDERS[rule]())
    assert {finding.rule for finding in findings} == {rule}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_finding_names_its_place_and_a_remedy(rule: Any) -> None:
    finding, *_ = check(OFFENDERS[rule.id]())
    assert str(finding) == f"{finding.where}: {rule.message} ({rule.id})"
    assert finding.where


@pytest.mark.parametrize("crf", [30.5, 0.0, 64.0])
def test_av1_takes_whole_factors_from_1_to_63(crf: float) -> None:
    ladder = load("smoke")
    video = tuple(replace(rung, crf=crf) if rung.id == "av1-180p-180k" else rung for rung in ladder.video)
    assert "crf-range" in {finding.rule for finding in check(replace(ladder, video=video))}


def test_rungs_that_close_up_at_60_frames_per_second_are_found() -> None:
    # 1500 kb/s for every frame are 2100 at 60p, beside 2000 for every second frame.
    low = replace(load("smoke").video[1], average_kbps=1500, cap_kbps=2250, buffer_kb=3000, default=False, crf=20.0)
    halved = replace(low, average_kbps=2000, cap_kbps=3000, buffer_kb=4000, crf=19.0, frame_rate=FramePolicy.AT_MOST_30)
    found = [finding for finding in check(replace(WEB, video=(low, halved))) if finding.rule == "apart"]
    assert [finding.where for finding in found] == ["avc-180p-2000k and avc-180p-1500k of a 60p master"]


def test_a_ladder_may_have_no_sound() -> None:
    assert check(replace(WEB, audio=())) == ()


def test_the_default_rung_must_be_sdr() -> None:
    video = tuple(
        replace(rung, default=rung.range is RungRange.HDR and rung.height_px == 1440) for rung in load("studio").video
    )
    assert [finding.rule for finding in check(replace(load("studio"), video=video))] == ["video-default"]
