"""Ladders for titles of every kind, also those with little to choose from. Real trial encodes, without a cluster."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from encoder import tool
from encoder.cluster import Done, TaskRun
from encoder.planning import Draft
from headend.app import analysis, deciding
from headend.app.analysis import Analysed
from headend.app.request import Request
from headend.core import layout
from headend.core.errors import ConfigError, DamagedMaster
from headend.core.media import Effort, VideoRange
from headend.core.media.quality import HD
from headend.core.settings import ClusterSettings, Cropping, EncodeSettings, StoreSettings, Targets
from headend.core.storage import open_store
from ladders import loading
from ladders.ladder import FramePolicy
from ladders.rules import check
from tests.support.command_line import ROOT
from tests.support.damage import garble
from tests.support.marks import repeated
from tests.support.masters import make_film

LADDER = ROOT / "tests" / "data" / "one_codec.toml"


def clip(path: Path, source: str, frames: int) -> Path:
    argv = [tool.ffmpeg_path(), "-loglevel", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
    subprocess.run([*argv, "-c:v", "ffv1", str(path)], check=True)
    return path


def here(folder: Path) -> Callable[..., None]:
    """Runs tasks in this process."""

    def run(
        tasks: Sequence[Any], perform: Callable[[TaskRun], Any], _settings: Any, on_event: Callable[[Any], None],
        *, tool: str | None = None,  # noqa: ARG001
    ) -> None:  # fmt: skip
        for task in tasks:
            on_event(Done(perform(TaskRun(task, 1, "here", folder, lambda: False, lambda _: None, lambda: None))))

    return run


def fitted(
    master: Path, folder: Path, *, policy: FramePolicy = FramePolicy.SOURCE, **encode: Any
) -> tuple[Draft, Analysed]:
    store = StoreSettings(str(folder / "store"))
    settings = EncodeSettings(effort=Effort.DRAFT, thumbnails=False, segment_s=Fraction(1), **encode)
    ladder = loading.load(str(LADDER))
    ladder = replace(ladder, video=tuple(replace(rung, frame_rate=policy) for rung in ladder.video))
    request = Request(str(master), "film", ladder, store, ClusterSettings(), settings, targets=Targets())
    draft, found = deciding.fitted_draft(
        request, deciding.inspect(str(master), store), open_store(store), run=here(folder)
    )
    assert found is not None
    assert [finding for finding in check(found.analysis.ladder) if not finding.advice] == []
    assert draft.plan.video and draft.plan.tracks
    assert {r.average_bps // 1000 for r in draft.plan.video} <= {r.average_kbps for r in found.analysis.ladder.video}
    return draft, found


@pytest.mark.heavy
def test_a_master_shorter_than_a_gop_is_tried_whole(tmp_path: Path) -> None:
    _, found = fitted(clip(tmp_path / "short.mkv", "testsrc2=s=320x180:r=25", 7), tmp_path)

    assert (found.analysis.gops, found.analysis.excerpts) == (1, 1)
    assert len(found.analysis.codecs[0].rungs) >= 3
    assert "analysis takes about" in "".join(found.analysis.decisions)


def test_a_title_may_be_a_single_frame(tmp_path: Path) -> None:
    _, found = fitted(clip(tmp_path / "frame.mkv", "testsrc2=s=320x180:r=25", 1), tmp_path)

    assert found.analysis.excerpts == 1


def test_a_black_title_keeps_the_rungs_that_the_ladder_has(tmp_path: Path) -> None:
    draft, found = fitted(clip(tmp_path / "black.mkv", "color=black:s=320x180:r=10", 12), tmp_path)

    assert found.analysis.codecs[0].rungs == ()
    assert any("the rungs of one-codec are kept" in line for line in draft.plan.decisions)
    assert [r.crf for r in draft.plan.video] == [22.0, 34.0]


@pytest.mark.parametrize(
    ("source", "frames", "rate"),
    [
        repeated("testsrc2=s=192x108:r=1", 1, Fraction(24)),  # slides
        repeated("testsrc2=s=192x108:r=8", 6, Fraction(24)),
        ("testsrc2=s=192x108:r=120", 12, Fraction(60)),
    ],
)
def test_titles_of_any_rate_are_tried_at_the_rate_that_is_delivered(
    tmp_path: Path, source: str, frames: int, rate: Fraction
) -> None:
    draft, found = fitted(clip(tmp_path / "film.mkv", source, frames), tmp_path)

    assert max(r.frame_rate for r in draft.plan.video) == rate
    assert len(found.analysis.codecs[0].points) >= 3
    assert all(0 <= point.vmaf <= 100 and point.kbps > 0 for point in found.analysis.codecs[0].points)


def test_rungs_of_half_the_frames_are_compared_with_these(tmp_path: Path) -> None:
    master = clip(tmp_path / "film.mkv", "testsrc2=s=320x180:r=50", 12)
    draft, found = fitted(master, tmp_path, policy=FramePolicy.AT_MOST_30)

    assert {r.rate_divisor for r in draft.plan.video} == {2}
    # Wrongly paired frames would score near 0.
    assert max(point.vmaf for point in found.analysis.codecs[0].points) > 40


def test_hdr_is_tried_as_it_is_tone_mapped(tmp_path: Path) -> None:
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    master = clip(tmp_path / "hdr.mkv", f"testsrc2=s=320x180:r=25,format=yuv420p10le,{tags}", 4)
    draft, found = fitted(master, tmp_path)

    assert draft.conformed.track.video_range is VideoRange.PQ
    assert max(point.vmaf for point in found.analysis.codecs[0].points) > 40


def test_damage_is_reported_as_in_an_encode(tmp_path: Path) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=50, codec_args=("-preset", "ultrafast", "-g", "12"))
    garble(master, [30])

    with pytest.raises(DamagedMaster, match="--allow-damaged"):
        fitted(master, tmp_path)


@pytest.mark.heavy
def test_cropped_bars_are_not_part_of_trials(tmp_path: Path) -> None:
    source = "testsrc2=s=144x108:r=10,pad=192:108:24:0:black"
    draft, found = fitted(clip(tmp_path / "bars.mkv", source, 8), tmp_path, crop=Cropping.AUTO)

    assert {(r.width_px, r.height_px) for r in draft.plan.video} == {(144, 108)}
    assert found.analysis.codecs[0].points


def test_a_model_that_ffmpeg_lacks_is_named_before_the_master_is_surveyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "viewing_of", lambda *_: replace(HD, model="vmaf_v9.9.9"))

    with pytest.raises(ConfigError, match=r"no VMAF model vmaf_v9\.9\.9; unset HEADEND_FFMPEG"):
        fitted(clip(tmp_path / "film.mkv", "testsrc2=s=320x180:r=10", 4), tmp_path)

    assert list(open_store(StoreSettings(str(tmp_path / "store"))).list(layout.ANALYSIS)) == []


def test_damaged_results_in_the_store_are_computed_again(tmp_path: Path) -> None:
    master = clip(tmp_path / "film.mkv", "testsrc2=s=320x180:r=10", 5)
    _, first = fitted(master, tmp_path)
    store = open_store(StoreSettings(str(tmp_path / "store")))
    keys = [info.key for info in store.list(f"{layout.ANALYSIS}/")]
    [trial, *_] = [key for key in keys if "/trials/" in key]
    [ladder] = [key for key in keys if "/ladders/" in key]
    store.put(trial, b"{")
    store.delete(ladder)

    _, second = fitted(master, tmp_path)

    assert second.results - second.reused == 1
    assert second.analysis.ladder == first.analysis.ladder
