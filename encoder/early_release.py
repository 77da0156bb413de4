"""Select the part of a title that is encoded and published first, in codecs that every player decodes. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from headend.core.codecs import media_codecs
from headend.core.errors import ConfigError
from headend.core.media import AudioRendition, EncodePlan, VideoRendition

EARLY = frozenset(codec.codec for codec in media_codecs() if codec.in_first_release)
"""Codecs of an early release: those that every player decodes."""


def early_part(plan: EncodePlan) -> EncodePlan | None:
    """The part of a plan that can be published before the rest.

    Returns:
        Its H.264, AAC, text, trick play and still pictures; None if the plan has nothing else.

    Raises:
        ConfigError: The plan has no H.264, or sound but no AAC.
    """
    video = tuple(rendition for rendition in plan.video if rendition.codec in EARLY)
    audio = tuple(rendition for rendition in plan.audio if rendition.codec in EARLY)
    if not video or (plan.audio and not audio):
        raise ConfigError(
            f"an early release is made of H.264 and AAC, but ladder {plan.ladder!r} has no "
            f"{'AAC' if video else 'H.264'}: choose another ladder, or publish all at once"
        )
    wanted = early_ids(plan)
    if wanted == plan.tracks.keys():
        return None
    return replace(
        plan,
        video=video,
        audio=audio,
        trick=tuple(rendition for rendition in plan.trick if rendition.id in wanted),
        tracks={name: track for name, track in plan.tracks.items() if name in wanted},
        sealings={name: encryption for name, encryption in plan.sealings.items() if name in wanted},
    )


def early_ids(plan: EncodePlan) -> frozenset[str]:
    """Ids of the renditions and still pictures of an early release."""
    coded: tuple[VideoRendition | AudioRendition, ...] = (*plan.video, *plan.trick, *plan.audio)
    side = [stills.id for stills in (plan.thumbnails, plan.poster) if stills is not None]
    first = {*(r.id for r in coded if r.codec in EARLY), *(text.id for text in plan.text), *side}
    return frozenset({*first, *(name for name, encryption in plan.sealings.items() if encryption.rendition in first)})


def waves(video: Sequence[VideoRendition]) -> Iterator[tuple[VideoRendition, ...]]:
    """Split renditions into those of an early release and the others; an empty group is left out."""
    for first in (True, False):
        if wave := tuple(rendition for rendition in video if (rendition.codec in EARLY) is first):
            yield wave
