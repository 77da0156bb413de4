import io

import av
import numpy as np
import pytest

from tests.support.frame_numbers import LIMIT, draw_frame, read_frame_number

NUMBERS = (0, 1, 2, 254, 255, 256, 0x5555, 0xAAAA, LIMIT - 1)


def frame_of(number: int, *, width_px: int = 320, height_px: int = 180, noise: int = 4) -> av.VideoFrame:
    planes = np.frombuffer(draw_frame(number, width_px, height_px, noise=noise), dtype=np.uint8)
    return av.VideoFrame.from_ndarray(planes.reshape(height_px * 3 // 2, width_px), format="yuv420p")


def luma(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="gray")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("size", [(160, 90), (320, 180), (640, 360), (1280, 720)])
def test_the_number_drawn_is_the_number_read(number: int, size: tuple[int, int]) -> None:
    width_px, height_px = size
    picture = np.frombuffer(draw_frame(number, width_px, height_px, noise=40), dtype=np.uint8)

    assert read_frame_number(picture[: width_px * height_px].reshape(height_px, width_px)) == number


@pytest.mark.parametrize("number", NUMBERS)
def test_the_number_survives_scaling_to_64_by_36_and_a_bad_jpeg(number: int) -> None:
    small = frame_of(number).reformat(width=64, height=36, format="yuvj420p")
    squeezed = io.BytesIO()
    with av.open(squeezed, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qmin": "25", "qmax": "31"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuvj420p"
        container.mux([*stream.encode(small), *stream.encode(None)])
    squeezed.seek(0)
    with av.open(squeezed, format="mjpeg") as container:
        read = [read_frame_number(frame.to_ndarray()[:36, :64]) for frame in container.decode(video=0)]

    assert read == [number]


def test_ten_bit_luma_is_read_too() -> None:
    wide = frame_of(4711).reformat(format="yuv420p10le").to_ndarray()[:180, :320]

    assert read_frame_number(wide, bit_depth=10) == 4711


def test_a_picture_without_a_number_reads_as_none() -> None:
    assert read_frame_number(np.full((180, 320), 90, dtype=np.uint8)) is None


def test_a_mixture_of_two_frames_reads_as_none() -> None:
    one, other = (luma(frame_of(number, noise=0)).astype(np.uint16) for number in (5, 6))

    assert read_frame_number(((one + other) // 2).astype(np.uint8)) is None
