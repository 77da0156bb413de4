"""Makes the labels of sound and text programmes safe for manifests: they come from masters, which are not trusted."""

import re
import unicodedata
from collections.abc import Iterable

from headend.core.media import AudioRendition, TextRendition

UNDETERMINED = "und"
DESCRIBES_VIDEO = frozenset({"visual_impaired", "descriptions"})
"""FFmpeg's dispositions of audio description."""
COMMENTARY = "comment"
"""FFmpeg's disposition of commentary."""
CLEAR_SPEECH = "hearing_impaired"
"""FFmpeg's disposition of sound with enhanced speech."""
DUB = "dub"
"""FFmpeg's disposition of sound that is not in the film's original language."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_MAX_NAME_CHARACTERS = 80
"""Maximum length of a name in a player's menu; names in masters may be of any length."""


def clean(text: str) -> str:
    """Replace quotes, which would end an attribute, and control characters, which XML does not allow.

    Returns:
        One line, with runs of white space replaced by one space.
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text.replace('"', "'"))
    return " ".join(kept.split())


def language(rendition: AudioRendition | TextRendition) -> str | None:
    """The BCP 47 tag to state; None if it is undetermined or not a tag."""
    tag = rendition.language
    return tag if tag != UNDETERMINED and _LANGUAGE.fullmatch(tag) else None


def names(renditions: Iterable[AudioRendition]) -> dict[int, str]:
    """One clean, unique name per programme.

    Returns:
        Names by the programme's stream number in the master, in the renditions' order.

    Source:
        RFC 8216, section 4.3.4.1.1: NAME must be unique within a group.
    """
    names_by_programme: dict[int, str] = {}
    for rendition in renditions:
        if rendition.track_index in names_by_programme:
            continue
        label = clean(rendition.name)[:_MAX_NAME_CHARACTERS].rstrip()
        name = label if label and label != UNDETERMINED else language(rendition) or "Audio"
        used, number = set(names_by_programme.values()), 2
        unique = name
        while unique in used:
            unique, number = f"{name} {number}", number + 1
        names_by_programme[rendition.track_index] = unique
    return names_by_programme


def first_choice(renditions: Iterable[AudioRendition]) -> int | None:
    """Stream number of the programme that plays by default: the first marked as default, else the first of all."""
    programmes = tuple(renditions)
    marked = (rendition.track_index for rendition in programmes if rendition.default)
    return next(marked, programmes[0].track_index if programmes else None)
