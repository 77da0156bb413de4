"""Two codecs that headend does not offer, each as one descriptor: MPEG-4 Part 2 and Apple Lossless.

Run as a program, it adds them as a developer would, with names in `Codec` and entries in `VIDEO` and `AUDIO`, and makes
a title with them: ``python toy_codec.py MASTER STORE``.
"""

import sys
from dataclasses import replace
from fractions import Fraction

from headend.core import codecs
from headend.core.codecs import AudioCodec, Level, Options, Style, VideoCodec
from headend.core.codecs.base import ColourCodes, lower_rate_options
from headend.core.media import AudioRendition, AudioRung, Codec, VideoRendition

VISUAL_OBJECT_SEQUENCE = bytes.fromhex("000001b0")


def name_codec(value: str) -> Codec:
    """Does what a line in the enumeration does."""
    member = str.__new__(Codec, value)
    member._name_, member._value_ = value.upper(), value
    Codec._member_map_[member._name_] = Codec._value2member_map_[value] = member
    Codec._member_names_.append(member._name_)
    return member


def options(rendition: VideoRendition, style: Style) -> Options:
    """Return options for one constant quantiser, and a sync frame every GOP."""
    return {
        "c:v": "mpeg4", "q:v": rendition.crf, "maxrate": rendition.cap_bps, "bufsize": rendition.buffer_bits,
        "g": style.gop_frames, "sc_threshold": 1_000_000_000, "bf": 0, "threads": 1,
    }  # fmt: skip


def codec_string(configuration: bytes, _colour: ColourCodes) -> str:
    """RFC 6381: the object type, and the profile and level of the visual object sequence in ``esds``."""
    _, _, sequence = configuration.partition(VISUAL_OBJECT_SEQUENCE)
    return f"mp4v.20.{sequence[0]}"


CODEC = VideoCodec(
    codec=name_codec("mpeg4"),
    label="MPEG-4",
    profiles=(("0", 8),),
    levels=(Level("5", 414_720, 10_368_000, 8_000, 14_000, 720, 576),),
    block_px=16,
    counts_blocks=False,
    encoder="mpeg4",
    decoder="mpeg4",
    options=options,
    lower_rate=lower_rate_options,
    crf_limit=31,
    whole_crf=True,
    trial_crfs=(3.0, 6.0, 12.0),
    coarsest_trial_crf=24.0,
    finest_crf=2.0,
    beyond_trials_crf=1.0,
    floor_step_crf=2.0,
    trick_crf=None,
    sample_entry="mp4v",
    configuration_box="esds",
    codec_string=codec_string,
    hls_rank=None,
    costs_like=Codec.AVC,
)


def sound_options(_rendition: AudioRendition) -> Options:
    """Lossless: the requested rate is ignored."""
    return {"c:a": "alac"}


SOUND = AudioCodec(
    codec=name_codec("alac"),
    encoder="alac",
    frame_samples=4096,
    options=sound_options,
    sample_entry="alac",
    configuration_box="alac",
    codec_string=lambda _: "alac",
    in_hls=False,
    costs_like=Codec.AAC,
)


def main(master: str, folder: str) -> None:
    """Add the codecs before any package builds its tables; then submit, verify, and print commands and findings."""
    codecs.VIDEO = (*codecs.VIDEO, CODEC)
    codecs.AUDIO = (*codecs.AUDIO, SOUND)
    from headend.app import deciding, pipeline, verifying
    from headend.app.request import Request
    from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
    from headend.core.storage import open_store
    from ladders import loading, rules
    from tests.support.in_process import run_tasks

    smoke = loading.load("smoke")
    family = next(one for one in smoke.families if one.codec is Codec.AVC)
    rungs = [rung for rung in smoke.video if rung.codec is Codec.AVC]
    toys = [
        replace(
            rung, codec=CODEC.codec, crf=10.0 - number, default=False, average_kbps=4 * rung.average_kbps,
            cap_kbps=4 * rung.cap_kbps, buffer_kb=4 * rung.buffer_kb,
        )
        for number, rung in enumerate(rungs)
    ]  # fmt: skip
    toy_sound = AudioRung(SOUND.codec, "2.0", 256)
    families = (family, replace(family, codec=CODEC.codec, profile="0"))
    ladder = replace(smoke, name="toy", families=families, video=(*rungs, *toys), audio=(*smoke.audio, toy_sound))
    wrong = [finding for finding in rules.check(ladder) if not finding.advice]
    assert not wrong, wrong

    store = StoreSettings(f"{folder}/store")
    encode = EncodeSettings(segment_s=Fraction(1), chunk_s=Fraction(1), thumbnails=False)
    request = Request(master, "toy", ladder, store, ClusterSettings(workers=1), encode)
    print(*(task.argv for task in deciding.plan_for(request, deciding.inspect(master, store)).tasks))
    pipeline.submit(request, run=run_tasks)
    for finding in verifying.verify(open_store(store), "toy", deep=True).findings:
        print("finding:", finding.object, finding.message)


if __name__ == "__main__":
    main(*sys.argv[1:])
