import pickle

from headend.core.errors import ConfigError
from headend.core.shortening import MAX_CHARACTERS, MAX_QUOTED_CHARACTERS, shortened

LONG = 100_000


def test_usual_messages_are_kept() -> None:
    for message in (
        "", "film.mov can't be read", "there is no 'a' and \"b\"; it doesn't exist " + "and wasn't there " * 40,
        f"there is no {'x' * MAX_QUOTED_CHARACTERS!r}",
    ):  # fmt: skip
        assert shortened(message) == message


def test_what_is_quoted_is_shortened() -> None:
    for value in ("x" * LONG, "x y" * LONG, "don't " * LONG):
        message = shortened(f"list.json: {value!r} isn't a title; use a-z, 0-9 and '-'")

        assert len(message) < MAX_QUOTED_CHARACTERS + 60
        assert message.startswith(f"list.json: {repr(value)[:100]}")
        assert message.endswith("isn't a title; use a-z, 0-9 and '-'")


def test_long_words_are_shortened() -> None:
    assert len(shortened(f"alternatives.{'x' * LONG} is not a table")) < MAX_QUOTED_CHARACTERS + 30


def test_a_message_of_many_words_is_shortened() -> None:
    assert len(shortened("word " * LONG)) == MAX_CHARACTERS


def test_errors_are_shortened_once() -> None:
    error = ConfigError(f"there is no {'x' * LONG!r}; use one of a, b")

    assert len(str(error)) < MAX_QUOTED_CHARACTERS + 60
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
