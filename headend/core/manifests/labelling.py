"""Labels of programmes of sound and text, made safe for manifests.

Names, languages and roles come from the master, so they may hold anything.
"""

import re
import unicodedata
from collections.abc import Iterable

from headend.core.media import AudioRendition, TextRendition

UNDETERMINED = "und"
DESCRIBES_VIDEO = frozenset({"visual_impaired", "descriptions"})
"""FFmpeg's dispositions of a programme that tells what is to be seen."""
COMMENTARY = "comment"
"""FFmpeg's disposition of a programme that talks about the film."""
CLEAR_SPEECH = "hearing_impaired"
"""FFmpeg's disposition of a programme whose speech is made easy to follow."""
DUB = "dub"
"""FFmpeg's disposition of a programme that is not in the film's own language."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_LONGEST_NAME = 80
"""Characters that a menu has room for; a master may hold a novel."""


def clean(text: str) -> str:
    """Take out of ``text`` what could end a quoted attribute or is no character of XML: quotes and control characters.

    Returns:
        One line, in which any run of spaces is one space.
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text.replace('"', "'"))
    return " ".join(kept.split())


def language(rendition: AudioRendition | TextRendition) -> str | None:
    """The BCP 47 tag to state, or None when it is undetermined or not a tag."""
    tag = rendition.language
    return tag if tag != UNDETERMINED and _LANGUAGE.fullmatch(tag) else None


def names(renditions: Iterable[AudioRendition]) -> dict[int, str]:
    """One clean name per programme, unique among them.

    Returns:
        Names by the programme's stream number in the master, in the renditions' order.

    Source:
        RFC 8216, section 4.3.4.1.1: NAME must be unique within a group.
    """
    given: dict[int, str] = {}
    for rendition in renditions:
        if rendition.track_index in given:
            continue
        told = clean(rendition.name)[:_LONGEST_NAME].rstrip()
        name = told if told and told != UNDETERMINED else language(rendition) or "Audio"
        taken, number = set(given.values()), 2
        unique = name
        while unique in taken:
            unique, number = f"{name} {number}", number + 1
        given[rendition.track_index] = unique
    return given


def first_choice(renditions: Iterable[AudioRendition]) -> int | None:
    """Stream number of the programme to play unasked: the first marked as default, else the first; None without any."""
    all_of_them = tuple(renditions)
    marked = (rendition.track_index for rendition in all_of_them if rendition.default)
    return next(marked, all_of_them[0].track_index if all_of_them else None)
