from pathlib import Path

from headend.app.cli import demo_edges
from headend.app.cli.demo_edges import Served
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from tests.origin.releases import PICTURE, SEGMENTS, TITLE, ask, put_release


def test_the_table_shows_who_was_served_from_where(tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path))
    put_release(open_store(store))
    asked: list[str] = []

    def play(url: str) -> None:
        asked.append(url)
        for number, body in enumerate(SEGMENTS, 1):
            assert ask(url, f"/{TITLE}/tracks/{PICTURE}/{number}.m4s").body == body

    count, size = len(SEGMENTS), sum(map(len, SEGMENTS))
    served = demo_edges.play_through(store, play)
    assert len(asked) == 4 and len(set(asked)) == 2
    assert served == (
        Served("edge", "north", 2 * count, count, 2 * size, size),
        Served("edge", "south", 2 * count, count, 2 * size, size),
        Served("shield", "", 2 * count, count, 2 * size, size),
        Served("origin", "", count, count, size, size),
    )
    columns = [[str(cell) for cell in column.cells] for column in demo_edges.served_table(served).columns]
    assert columns[0] == ["edge of north", "edge of south", "shield", "origin"]
    assert columns[1] == [f"{2 * count}"] * 3 + [f"{count}"]
    assert columns[4] == ["50%"] * 3 + [""]
    assert columns[5] == ["25%"] * 4
