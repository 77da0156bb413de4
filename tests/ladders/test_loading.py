import math
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import pytest

from headend.core.errors import ConfigError
from ladders.loading import load, presets
from ladders.rules import check

WEB = (files("ladders") / "presets" / "web.toml").read_text(encoding="utf-8")


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_presets_are_the_three_that_the_guides_name() -> None:
    assert presets() == ("smoke", "studio", "web")


@pytest.mark.parametrize("name", presets())
def test_each_preset_is_valid_and_gets_no_advice(name: str) -> None:
    ladder = load(name)
    assert ladder.name == name
    assert check(ladder) == ()


@pytest.mark.parametrize("name", presets())
def test_the_factors_of_one_size_differ_as_its_averages_do(name: str) -> None:
    ladder = load(name)
    sizes = groupby(ladder.video, key=lambda rung: (rung.codec, rung.range, rung.height_px))
    for *lower, top in (list(rungs) for _, rungs in sizes):
        for rung in lower:
            halvings = math.log2(top.average_kbps / rung.average_kbps)
            assert rung.crf - top.crf == pytest.approx(halvings * ladder.family(rung.codec).crf_per_halving, abs=0.6)


def test_a_file_is_read_like_a_preset(tmp_path: Path) -> None:
    assert load(write(tmp_path, WEB)) == load("web")


def test_an_unknown_name_is_answered_with_the_presets_and_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'studio'.*smoke, studio, web"):
        load("studoi")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(str(tmp_path / "none.toml"))


def test_invalid_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not TOML.*line 2"):
        load(write(tmp_path, 'name = "x"\nvideo = ?\n'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width_px = 640,", 'width_px = "640",', r"Expected `int`, got `str` - at `video\[1\].width_px`"),
        ("width_px = 640,", "", r"missing required field `width_px` - at `video\[1\]`"),
        ("width_px = 640,", "widht_px = 640,", r"unknown key `video\[1\].widht_px`; did you mean 'width_px'\?"),
        ('codec = "aac"', 'codec = "mp3"', r"'mp3' - at `audio\[\d\].codec`"),
        ("area_exponent", "surprise = 1\narea_exponent", "unknown key `surprise`; use name"),
        (
            "cap_kbps = 9000",
            "cap_kbps = 6000",
            r"-6000k with cap_kbps 6000: set cap_kbps to between 1.1 and 2 times",
        ),
    ],
)
def test_a_bad_key_is_named_with_a_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WEB
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, WEB.replace(old, new, 1)))


def test_advice_does_not_keep_a_ladder_from_loading(tmp_path: Path) -> None:
    ladder = load(write(tmp_path, WEB.replace("bit_rate_kbps = 64", "bit_rate_kbps = 96")))
    assert [finding.rule for finding in check(ladder)] == ["cellular-floor"]


def test_a_ladder_is_parsed_once_for_all_titles_of_a_list_until_its_file_changes(tmp_path: Path) -> None:
    path = write(tmp_path, WEB)
    first = load(path)
    assert load(path) is first
    write(tmp_path, WEB.replace('name = "web"', 'name = "mine"'))
    assert load(path).name == "mine"
