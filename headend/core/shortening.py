"""Shorten what messages quote: names and values in a hostile document or request may be megabytes long."""

import re

MAX_QUOTED_CHARACTERS = 240
"""Longer names and values are shortened in the middle; a path or an address of this length is still readable."""
MAX_CHARACTERS = 4_000
"""Maximum length of a message."""
_QUOTED = re.compile(
    rf"""(?<!\w)(?:'([^']{{{MAX_QUOTED_CHARACTERS + 1},}})'|"([^"]{{{MAX_QUOTED_CHARACTERS + 1},}})")(?!\w)"""
)
# With quotes and punctuation around it.
_WORD = re.compile(rf"\S{{{MAX_QUOTED_CHARACTERS + 13},}}")


def shortened(message: str) -> str:
    """Shorten long quotes and long words in a message, and the whole message if it is still too long.

    Text in quotes counts as quoted if no letter precedes or follows: apostrophes are no quotes.
    """
    message = _QUOTED.sub(
        lambda found: found[0][0] + _middle_out(found[0][1:-1], MAX_QUOTED_CHARACTERS) + found[0][-1], message
    )
    message = _WORD.sub(lambda found: _middle_out(found[0], MAX_QUOTED_CHARACTERS), message)
    return _middle_out(message, MAX_CHARACTERS)


def _middle_out(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    end = characters // 4
    return f"{text[: characters - end - 1]}…{text[-end:]}"
