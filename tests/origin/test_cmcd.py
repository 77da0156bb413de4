"""CMCD from players is counted, and changes nothing else."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from headend.core import layout
from headend.core.http.cmcd import OBJECTS, CmcdCounts, read
from origin.serving import running
from tests.origin.releases import PICTURE, SEGMENTS, TITLE, WatchedStore, ask

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"


@pytest.mark.parametrize(
    ("reported", "counts"),
    [
        ("bl=21300,bs,mtp=25400,ot=v", CmcdCounts("v", 21.3, 25_400_000.0, True)),
        ("ot=a,bs=false,bl=0", CmcdCounts("a", 0.0, None, False)),
        ('sid="a, bs, ot=v",ot=m', CmcdCounts("m")),
        (r'nor="..%2F2.m4s\",bs",mtp=100', CmcdCounts("o", None, 100_000.0)),
        ("ot=<script>,bl=-1,mtp=1e9", CmcdCounts()),
        ("v=2,bl=(21300;v 4000;a),mtp=(25400),ot=v,sta=r", CmcdCounts("v", 21.3, 25_400_000.0, True)),
        ("v=2,bl=(8000),ot=a,sta=p", CmcdCounts("a", 8.0, None, False)),
        ("bl=(((1),ot=v", CmcdCounts("v")),
        ('{"bl": 21300, "bs": true, "mtp": 25400, "ot": "v"}', CmcdCounts("v", 21.3, 25_400_000.0, True)),
        ('{"v": 2, "bl": [4000, 1], "ot": "a", "sta": "r"}', CmcdCounts("a", 4.0, None, True)),
        ('{"bl": {"a": [1]}, "ot": ["m"', CmcdCounts()),
        ("bl=99999999999,mtp=,ot", CmcdCounts()),
        ("", CmcdCounts()),
    ],
)
def test_cmcd_is_read_from_the_query_and_from_headers(reported: str, counts: CmcdCounts) -> None:
    assert read(f"{SEGMENT}?a=b&CMCD={quote(reported)}#c", CIMultiDict()) == counts
    assert read(SEGMENT, CIMultiDict({"cmcd-request": reported})) == counts


@given(st.text(alphabet='%234CcDd2B5bl=,"(); 0', max_size=40))
def test_cmcd_in_a_query_is_percent_decoded(reported: str) -> None:
    assert read(f"/?CMCD={reported}", CIMultiDict()) == read("/", CIMultiDict({"CMCD-Request": unquote(reported)}))


def test_headers_are_read_together() -> None:
    headers = CIMultiDict({"CMCD-Request": "bl=4000", "CMCD-Object": "ot=v", "CMCD-Status": "bs"})
    assert read("/", headers) == CmcdCounts("v", 4.0, None, True)


@given(st.text(), st.text(alphabet=st.characters(codec="latin-1")))
def test_the_number_of_labels_is_bounded_for_any_input(query: str, header: str) -> None:
    for counts in (read(f"/?CMCD={query}", CIMultiDict()), read("/", CIMultiDict({"CMCD-Request": header}))):
        assert counts.object in OBJECTS


def test_players_with_different_cmcd_share_one_read_and_one_file(store: WatchedStore) -> None:
    with running(store) as url:
        for number in range(3):
            answer = ask(url, f"{SEGMENT}?CMCD=bl%3D{number}000%2Cot%3Dv%2Csid%3D%22{number}%22")
            assert answer.body == SEGMENTS[0]
        assert ask(url, SEGMENT, {"CMCD-Request": "bs,mtp=3000", "CMCD-Object": "ot=v"}).body == SEGMENTS[0]
        figures = ask(url, "/metrics").body.decode()
    assert store.reads[layout.track_segment(TITLE, PICTURE, 1)] == 1
    assert 'headend_origin_lookups_total{result="hit"} 3.0' in figures
    assert 'headend_origin_cmcd_requests_total{object="v"} 4.0' in figures
    assert "headend_origin_cmcd_starved_total 1.0" in figures
    assert "headend_origin_cmcd_buffer_seconds_count 3.0" in figures
    assert "headend_origin_cmcd_throughput_bps_sum 3e+06" in figures


def test_segments_carry_cmsd(base_url: str) -> None:
    got = ask(base_url, SEGMENT)
    stated = dict(pair.split("=") for pair in got.headers["cmsd-static"].split(","))
    assert (stated["ot"], stated["d"], stated["st"]) == ("v", "6000", "v")
    assert int(stated["br"]) > 0
    assert "CMSD-Static" in got.headers["access-control-expose-headers"]
    assert ask(base_url, f"/{TITLE}/tracks/{PICTURE}/init.mp4").headers["cmsd-static"] == "ot=i,st=v,v=1"
