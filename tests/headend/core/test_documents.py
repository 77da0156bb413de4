"""Data types survive a round trip through their documents, and bad documents are refused."""

import contextlib
import dataclasses
import json
from enum import Enum
from fractions import Fraction
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.core import documents, media
from headend.core.errors import StorageError
from headend.core.media import Current, EncodedTrack, Presentation, Receipt, Segment, Track, VideoRendition
from headend.core.timing import Grid

DATA_TYPES = tuple(
    item
    for item in vars(media).values()
    if isinstance(item, type) and dataclasses.is_dataclass(item) and item.__module__.startswith(f"{media.__name__}.")
)
GRID = Grid(Fraction(24000, 1001), 100, 48, 48, 96)
CURRENT = Current(release="r1", published_at="2030-01-01T00:00:00Z", submitted_at="", history=())
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=8),
    Fraction: st.fractions(),
    type(None): st.none(),
}


def values(kind: Any, rendition: Any = VideoRendition) -> st.SearchStrategy[Any]:
    """Return a value of any type used in documents; ``rendition`` replaces the type variable of tracks."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, TypeVar):
        return values(rendition)
    if kind in LEAVES:
        return LEAVES[kind]
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0], rendition), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(arg, rendition) for arg in args))
    if origin is dict:
        return st.dictionaries(values(args[0], rendition), values(args[1], rendition), max_size=2)
    if origin in (UnionType, Union):
        return st.one_of(*(values(arg, rendition) for arg in args))
    if origin is not None:
        return values(origin, *args)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return st.builds(kind, **{name: values(hint, rendition) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("data_type", DATA_TYPES, ids=lambda data_type: data_type.__name__)
def test_every_data_type_round_trips(data_type: type[Any]) -> None:
    kind = data_type[VideoRendition] if data_type is Track else data_type  # type: ignore[index]

    @settings(max_examples=8, deadline=None)
    @given(values(kind))
    def round_trip(before: Any) -> None:
        data = documents.write(before)
        if data_type is Track:  # occurs in presentations, never alone
            data = documents.write(Presentation("film", "r1", GRID, (before,), ()))
            assert documents.read(Presentation, data).video == (before,)
        else:
            assert documents.read(kind, data) == before

    round_trip()


def test_fractions_are_written_exactly() -> None:
    display = media.MasteringDisplay(
        *[(Fraction(1, 3), Fraction(1, 7))] * 4, min_nits=Fraction(1, 10_000), max_nits=Fraction(1000)
    )
    assert json.loads(documents.write(display))["body"]["red_xy"] == ["1/3", "1/7"]
    assert documents.read(media.MasteringDisplay, documents.write(display)) == display


def test_equal_values_make_the_same_bytes() -> None:
    assert documents.write(CURRENT) == documents.write(dataclasses.replace(CURRENT))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"kind":"Current","version":2,"body":{}}', {"kind": "Current", "version": 2}),
        (b'{"kind":"Current","version":"1","body":{}}', {"kind": "Current", "version": "1"}),
        (b'{"kind":"Receipt","version":1,"body":{}}', {"kind": "Receipt", "version": 1}),
        (b'{"version":1,"body":{}}', {"version": 1}),
        (b'{"kind":"Current","version":1}', {"kind": "Current", "version": 1}),
        (b"{}", {}),
    ],
)
def test_another_kind_or_version_is_refused(data: bytes, found: dict[str, object]) -> None:
    with pytest.raises(StorageError, match=r"titles/a/current\.json is not a Current document of version 1") as caught:
        documents.read(Current, data, key="titles/a/current.json")
    assert caught.value.facts["found"] == found


@pytest.mark.parametrize(
    "data",
    [
        b"", b"not json", b"null", b"[]", b"7", b"\xff\xfe", b'{"kind":', b'{"kind":"Current","version":1,"body":{}',
        b'{"kind":"Current","version":1,"body":null}',
        b'{"kind":"Current","version":1,"body":{"release":"r1"}}',
        b'{"kind":"Current","version":1,"body":{"release":"r1","published_at":7}}',
        b'{"kind":"Current","version":1,"body":{"release":null,"published_at":"now"}}',
        b'{"kind":"Current","version":1,"body":{"release":"\xff","published_at":"now"}}',
        b'{"kind":"Current","version":1,"body":' + b"[" * 100_000,
        b'{"kind":' + b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:60]),
)  # fmt: skip
def test_a_broken_document_is_refused_with_its_name(data: bytes) -> None:
    with pytest.raises(StorageError, match=r"^titles/a/current\.json "):
        documents.read(Current, data, key="titles/a/current.json")


def test_a_wrong_field_is_named() -> None:
    segment = {"number": 1, "start_ticks": 0, "duration_ticks": "long", "samples": 1, "size_bytes": 1, "sha256": ""}
    data = json.dumps({"kind": "Segment", "version": 1, "body": segment}).encode()
    with pytest.raises(StorageError, match="duration_ticks"):
        documents.read(Segment, data)


@pytest.mark.parametrize("rate", ["1/0", "", "24000:1001", "fast", 1.5, None, [], {}])
def test_malformed_fractions_are_refused(rate: object) -> None:
    body = {"frame_rate": rate, "frame_count": 1, "gop_frames": 2, "segment_frames": 2, "chunk_frames": 2}
    presentation = {"title": "a", "release": "r1", "grid": body, "video": [], "audio": []}
    data = json.dumps({"kind": "Presentation", "version": 1, "body": presentation}).encode()
    if rate == 1.5:
        assert documents.read(Presentation, data).grid.frame_rate == Fraction(3, 2)
        return
    with pytest.raises(StorageError):
        documents.read(Presentation, data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_document_is_read_whole_or_refused(data: st.DataObject) -> None:
    track = EncodedTrack("avc", "00", 700, 24000, 0, 1000, 2000, (Segment(1, 0, 48048, 48, 9000, "11", ((0, 900),)),))
    document = bytearray(documents.write(Receipt("t1", 0, (track,), 1, "tcp://w", 1.5, 2.5, 1000)))
    place = data.draw(st.integers(0, len(document) - 1))
    document[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(StorageError):
        assert isinstance(documents.read(Receipt, bytes(document)), Receipt)


def test_only_known_data_types_have_documents() -> None:
    with pytest.raises(NotImplementedError, match="object can't be written"):
        documents.write(object())


def test_plain_data_contains_only_json_types() -> None:
    assert documents.as_plain(GRID) == {
        "frame_rate": "24000/1001",
        "frame_count": 100,
        "gop_frames": 48,
        "segment_frames": 48,
        "chunk_frames": 96,
    }


@pytest.mark.parametrize("wrong", ["9e999999999", "1e5", "1/0", "0.5", "", " 1", "1/2/3", "\u0661", "9" * 501])
def test_a_fraction_is_written_as_one_or_the_document_is_refused_at_once(wrong: object) -> None:
    plain = json.loads(documents.write(GRID))
    name = next(field for field, value in plain["body"].items() if isinstance(value, str) and "/" in value)
    plain["body"][name] = wrong
    with pytest.raises(StorageError, match=r"grid can't be read"):
        documents.read(Grid, json.dumps(plain).encode(), key="grid")
