"""Small jobs through the whole pipeline."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from headend.app.pipeline import submit
from headend.app.request import Outcome, Request
from headend.core.media import Codec, Crop, Effort
from headend.core.settings import (
    AudioChoice,
    ClusterSettings,
    Cropping,
    EncodeSettings,
    ProtectionSettings,
    StoreSettings,
    SubtitleOffset,
    TextChoice,
)
from headend.core.storage import Store, open_store
from ladders.ladder import Ladder
from ladders.loading import load


@dataclass(frozen=True, slots=True)
class Published:
    """A title made by a test, and its store."""

    outcome: Outcome
    store: Store


def picture_ladder() -> Ladder:
    """Return the smoke ladder's two rungs of H.264, for tests that are not about codecs."""
    smoke = load("smoke")
    return replace(smoke, video=tuple(rung for rung in smoke.video if rung.codec is Codec.AVC))


def submit_small(
    master: Path | str,
    store: StoreSettings,
    scheduler: str,
    *,
    title: str = "film",
    ladder: str | Ladder = "smoke",
    segment_s: Fraction = Fraction(1, 2),
    chunk_s: Fraction = Fraction(1),
    audio: tuple[AudioChoice, ...] = (),
    text: tuple[TextChoice, ...] = (),
    thumbnails: bool = False,
    crop: Crop | Cropping = Cropping.NONE,
    allow_damaged: bool = False,
    subtitle_offset: SubtitleOffset = Fraction(0),
    protection: ProtectionSettings | None = None,
) -> Published:
    """Submit a master with segments and chunks short enough for a film of seconds.

    Thumbnails and trick play are left out by default, since each chunk would start three more encoders.
    """
    request = Request(
        master=str(master),
        title=title,
        ladder=load(ladder) if isinstance(ladder, str) else ladder,
        store=store,
        cluster=ClusterSettings(scheduler=scheduler),
        encode=EncodeSettings(
            segment_s=segment_s,
            chunk_s=chunk_s,
            effort=Effort.DRAFT,
            audio=audio,
            text=text,
            thumbnails=thumbnails,
            crop=crop,
            allow_damaged=allow_damaged,
            subtitle_offset=subtitle_offset,
        ),
        protection=protection,
    )
    return Published(submit(request), open_store(store))
