import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.manifests.labelling import clean, first_choice, language, names
from tests.support.makers import make_audio_rendition


@given(st.text())
def test_no_text_can_leave_its_attribute(text: str) -> None:
    cleaned = clean(text)
    assert '"' not in cleaned
    assert cleaned.isprintable()
    cleaned.encode()  # no lone surrogate is left


def test_programmes_of_one_name_get_distinct_labels() -> None:
    renditions = [
        make_audio_rendition(track_index=n, name=name) for n, name in [(1, 'A"'), (2, "A'"), (2, "A'"), (3, "\0")]
    ]
    assert names(renditions) == {1: "A'", 2: "A' 2", 3: "en"}


def test_an_undetermined_language_is_not_used_as_a_name() -> None:
    assert names([make_audio_rendition(name="und", language="und")]) == {1: "Audio"}


@pytest.mark.parametrize(
    ("tag", "stated"), [("en", "en"), ("zh-Hant-TW", "zh-Hant-TW"), ("und", None), ('en"\n#', None), ("", None)]
)
def test_only_language_tags_are_stated(tag: str, stated: str | None) -> None:
    assert language(make_audio_rendition(language=tag, id="a")) == stated


def test_the_marked_programme_is_chosen_before_the_first() -> None:
    first = make_audio_rendition(track_index=1, default=False)
    second = make_audio_rendition(track_index=2, default=True)
    assert first_choice([first, second]) == 2
    assert first_choice([first]) == 1
    assert first_choice([]) is None
