"""A made-up title with keys: one for sound, and one for each class of pictures."""

from dataclasses import replace
from typing import Any

from headend.core.media import Codec, Copy, Presentation, Protection, Scheme
from headend.core.media.protection import KeyClass, key_name, video_class
from packager.signalling import System, signals
from tests.support.makers import make_audio_rendition, make_video_rendition
from tests.support.releases import make_grid, make_presentation

TITLE = "film"
CLASSES = (KeyClass.AUDIO, KeyClass.SD, KeyClass.HD, KeyClass.UHD)


def protection_of(scheme: Scheme, systems: tuple[System, ...] = tuple(System)) -> Protection:
    names = tuple(key_name(TITLE, scheme, key_class) for key_class in CLASSES)
    return Protection(scheme, names, signals=signals(names, systems))


def with_keys(track: Any, protection: Protection) -> Any:
    """Return the track in its encrypted form."""
    rendition = track.rendition
    wanted = video_class(rendition.width_px, rendition.height_px) if hasattr(rendition, "width_px") else KeyClass.AUDIO
    kid = next(name.kid for name in protection.names if name.key_class is wanted)
    return replace(track, id=f"{track.id}-{protection.scheme}", kid=kid)


def protected(
    scheme: Scheme = Scheme.CBCS, *copies: Scheme, systems: tuple[System, ...] = tuple(System)
) -> Presentation:
    """Three sizes of two codecs and two sounds, with trick play."""
    rate = make_grid().frame_rate
    pictures = tuple(
        make_video_rendition(codec=codec, width_px=width, height_px=height, frame_rate=rate, average_bps=height * 2000)
        for codec in (Codec.AVC, Codec.AV1)
        for width, height in ((3840, 2160), (1280, 720), (640, 360))
    )
    sounds = (make_audio_rendition(), make_audio_rendition(codec=Codec.AC3, layout="5.1", bit_rate_bps=384_000))
    clear = make_presentation(make_grid(), pictures, sounds, trick_play=True)
    protection = protection_of(scheme, systems)

    def keyed(tracks: Any, by: Protection) -> Any:
        return tuple(with_keys(track, by) for track in tracks)

    presentation = replace(
        clear,
        video=keyed(clear.video, protection),
        audio=keyed(clear.audio, protection),
        trick=keyed(clear.trick, protection),
        protection=protection,
    )
    further = tuple(
        Copy(
            by := protection_of(other),
            keyed(clear.video[:3], by),
            keyed(clear.audio, by),
            () if other is Scheme.AES_128 else keyed(clear.trick[:1], by),
        )
        for other in copies
    )
    return replace(presentation, copies=further)
