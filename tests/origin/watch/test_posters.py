import io

import av
import numpy as np
import pytest

from headend.media import VideoRange, VideoRendition
from headend.storage.memory import MemoryStore
from origin.serving import running
from origin.watch import posters
from packager import publishing
from tests.origin.releases import ask
from tests.support.masters import make_film
from tests.support.nouns import make_video_rendition
from tests.support.releases import make_grid, make_presentation, store_real


def chosen(*renditions: VideoRendition) -> str:
    return posters.source(make_presentation(video=renditions))[0].rendition.id


def test_a_poster_is_drawn_from_the_smallest_rendition_that_is_large_enough() -> None:
    sizes = [make_video_rendition(id=f"avc-{h}p", width_px=h * 16 // 9 // 2 * 2, height_px=h) for h in (1080, 720, 360)]
    assert chosen(*sizes) == "avc-720p"
    assert chosen(sizes[2]) == "avc-360p"


def test_a_poster_is_never_drawn_from_a_dynamic_range_that_pictures_have_not() -> None:
    high = make_video_rendition(id="hevc-720p", height_px=720, video_range=VideoRange.PQ)
    standard = make_video_rendition(id="avc-360p", width_px=640, height_px=360)
    assert chosen(high, standard) == "avc-360p"


def test_a_title_of_one_segment_has_a_poster_too() -> None:
    _, segments = posters.source(make_presentation(make_grid(frame_count=48)))
    assert [segment.number for segment in segments] == [1]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("films")
    black = make_film(folder / "black.mp4", frame_count=2, filters="drawbox=color=black:t=fill", noise=0)
    return black.read_bytes(), make_film(folder / "film.mp4", frame_count=2).read_bytes()


def test_black_frames_make_no_posters(films: tuple[bytes, bytes]) -> None:
    black, film = films
    assert posters.draw(iter([black, film, black])) == posters.draw(iter([film]))


def test_a_poster_looks_like_the_film(films: tuple[bytes, bytes]) -> None:
    def colours(data: bytes) -> np.ndarray:
        with av.open(io.BytesIO(data), "r") as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)

    film, poster = colours(films[1]), colours(posters.draw(iter([films[1]])))
    assert film.shape == poster.shape
    assert np.abs(film.mean(axis=(0, 1)) - poster.mean(axis=(0, 1))).max() < 3


def test_the_origin_serves_the_poster_of_the_current_release() -> None:
    store = MemoryStore()
    plan = store_real(store)
    publishing.publish(store, plan)
    with running(store) as url:
        entry = ask(url, f"/{plan.title}/poster.jpg")
        assert (entry.status, entry.headers["location"]) == (302, f"{plan.release}/poster.jpg")
        poster = ask(url, f"/{plan.title}/{plan.release}/poster.jpg")
        assert (poster.status, poster.headers["content-type"]) == (200, "image/jpeg")
        assert poster.body[:3] == b"\xff\xd8\xff"
        assert "immutable" in poster.headers["cache-control"]
        assert ask(url, f"/{plan.title}/ffff/poster.jpg").status == 404
