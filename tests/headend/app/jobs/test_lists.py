import json
from pathlib import Path

import pytest

from headend.app.jobs import lists
from headend.core.errors import ConfigError

WANTED = (
    ("--title=one", "--audio=1:en", "--audio=2:fr", "--publish-early", "--", "/in/one.mov"),
    ("--title=two", "--ladder=web", "--", "-two.mov"),
)
FORMS = {
    "a.csv": "master,title,audio,ladder,publish-early\n/in/one.mov,one,1:en;2:fr,,true\n-two.mov,two,,web,false\n",
    "a.json": json.dumps(
        [
            {"master": "/in/one.mov", "title": "one", "audio": ["1:en", "2:fr"], "publish_early": True},
            {"master": "-two.mov", "title": "two", "ladder": "web"},
        ]
    ),
    "a.toml": "[[titles]]\nmaster='/in/one.mov'\ntitle='one'\naudio=['1:en','2:fr']\npublish-early=true\n"
    "[[titles]]\nmaster='-two.mov'\ntitle='two'\nladder='web'\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_all_formats_give_the_same_command_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FORMS[name])
    assert tuple(row.arguments for row in lists.read(path)) == WANTED


@pytest.mark.parametrize("name", ["a;b.mov", "true", "1:en;2"])
def test_the_name_of_a_master_is_not_split(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"master,title\n{name},a\n")

    assert [row.arguments for row in lists.read(path)] == [("--title=a", "--", name)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "master,title\n", "lists no titles"),
        ("a.csv", "master,title\nx.mov\n", "line 2 does not have as many cells"),
        ("a.csv", "master,title\n,x\n", "line 2 has no master"),
        ("a.csv", 'master,title\n"x.mov,y\n', "is not CSV"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", '[{"master": "x", "title": {}}]', "title 1: title is neither text nor a number"),
        ("a.json", '[{"master": "x", "title": "a", "title": "b"}]', "is not JSON: an object has 'title' twice"),
        ("a.json", '[{"master": null, "title": "a"}]', "title 1: master is not text"),
        ("a.json", '[{"master": ["x"], "title": "a"}]', "title 1: master is not text"),
        ("a.json", '[{"master": "\\ud800", "title": "a"}]', "is not in UTF-8"),
        ("a.json", '[{"master": "x", "audio_x": 1, "audio-x": 2}]', "title 1 has an option twice"),
        ("a.toml", "[[titles]]\nmaster='x'\ntitle=" + "9" * 5000, "is not TOML"),
        ("a.toml", "titles = 3", "is not a list of titles"),
        ("a.txt", "x", "does not end in"),
        ("a.csv", "master,title,laddr\nx.mov,y,web\n", r"line 2 has 'laddr', .*did you mean 'ladder'\?"),
        ("a.csv", "master,title,from\nx.mov,y,a.csv\n", "line 2 has 'from', which is not an option of a title"),
        ("a.csv", "master;title\nx.mov;y\n", "line 2 has 'master;title'"),
        ("a.csv", "master,title,title\nx.mov,y,z\n", "the column 'title' twice"),
        ("a.toml", "[[titles]]\nmaster='x'\ntitel='y'", "title 1 has 'titel', .*did you mean 'title'"),
    ],
)
def test_an_error_names_its_place(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        lists.read(path, ["title", "ladder", "audio"])
    with pytest.raises(ConfigError, match="can't be read"):
        lists.read(tmp_path / "none.csv")
