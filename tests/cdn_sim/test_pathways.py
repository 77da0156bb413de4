import ipaddress

import pytest

from cdn_sim.pathways import HERE, Health, SteeringMap, check, manifest, order, parse_edge
from headend.core.errors import ConfigError

EDGES = tuple(
    parse_edge(f"{name}=http://{host}.example:8081")
    for name, host in (("north/1", "n1"), ("north/2", "n2"), ("north/3", "n3"), ("south/1", "s1"))
)
NORTH, SOUTH = ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("10.2.0.9")
STEERING_MAP = SteeringMap(
    EDGES,
    (("north", ipaddress.ip_network("10.1.0.0/16")), ("south", ipaddress.ip_network("10.2.0.0/16"))),
    replicas=2,
)
DOWN = Health(is_up=False)


def names(
    address: ipaddress.IPv4Address | None = NORTH, steering_map: SteeringMap = STEERING_MAP, **changes: object
) -> list[str]:
    given: dict[str, object] = {"title": "film", "draw": 0, **changes}
    health = given.pop("health", {})
    return [edge.name for edge in order(steering_map, health, address=address, **given)]  # type: ignore[arg-type]


def test_a_viewer_gets_the_edges_of_its_own_provider_first() -> None:
    assert [name.split("/")[0] for name in names()] == ["north"] * 3 + ["south"]
    assert names(SOUTH)[0] == "south/1"


def test_a_viewer_of_no_provider_gets_all_edges() -> None:
    assert sorted(names(ipaddress.ip_address("192.0.2.1"))) == sorted(edge.name for edge in EDGES)
    assert sorted(names(None)) == sorted(edge.name for edge in EDGES)


def test_the_longest_prefix_decides() -> None:
    inner = SteeringMap(EDGES, (*STEERING_MAP.networks, ("south", ipaddress.ip_network("10.1.2.0/24"))))
    assert names(steering_map=inner)[0] == "south/1"


def test_a_provider_without_networks_takes_everyone_else() -> None:
    steering_map = SteeringMap(EDGES, STEERING_MAP.networks[:1])
    assert names(SOUTH, steering_map)[0] == "south/1"
    assert names(NORTH, steering_map)[0].startswith("north/")


def test_unreachable_edges_are_left_out_and_full_ones_come_last() -> None:
    first, second, third, _ = names()
    assert first not in names(health={first: DOWN})
    assert names(health={first: Health(load=1.1)})[:3] == [second, third, first]
    assert names(health=dict.fromkeys((first, second, third), DOWN)) == ["south/1"]
    assert names(health={edge.name: DOWN for edge in EDGES}) == []


def test_a_title_has_its_edges_and_viewers_are_spread_over_replicas() -> None:
    assert len({names(title=f"title-{number}")[0] for number in range(40)}) == 3
    assert len({names(draw=draw)[0] for draw in range(10)}) == 2


def test_a_viewer_stays_with_an_edge_while_it_has_room() -> None:
    first, _, third, _ = names()
    assert names(current=third.replace("/", "."))[0] == third
    assert names(current="nobody")[0] == first


def test_the_document_gives_the_manifests_pathway_other_hosts() -> None:
    found = manifest(STEERING_MAP, EDGES[:2], "film?viewer=1", keeps_port=True)
    assert found == {
        "VERSION": 1,
        "TTL": 10,
        "RELOAD-URI": "film?viewer=1",
        "PATHWAY-PRIORITY": ["north.1", "north.2", HERE],
        "PATHWAY-CLONES": [
            {"BASE-ID": HERE, "ID": "north.1", "URI-REPLACEMENT": {"HOST": "n1.example"}},
            {"BASE-ID": HERE, "ID": "north.2", "URI-REPLACEMENT": {"HOST": "n2.example"}},
        ],
    }
    nobody = manifest(STEERING_MAP, (), "film", keeps_port=True)
    assert nobody["PATHWAY-PRIORITY"] == [HERE] and "PATHWAY-CLONES" not in nobody


@pytest.mark.parametrize(
    ("address", "kept", "dropped"),
    [
        ("http://e.example:8081", "e.example", "e.example:8081"),
        ("https://e.example", "e.example", "e.example"),
        ("http://[2001:db8::1]:81", "[2001:db8::1]", "[2001:db8::1]:81"),
    ],
)
def test_players_that_drop_the_port_get_it_with_the_host(address: str, kept: str, dropped: str) -> None:
    edge = parse_edge(f"north/1={address}")
    for keeps_port, host in ((True, kept), (False, dropped)):
        [clone] = manifest(SteeringMap((edge,)), (edge,), "", keeps_port=keeps_port)["PATHWAY-CLONES"]  # type: ignore[misc]
        assert clone["URI-REPLACEMENT"] == {"HOST": host}


@pytest.mark.parametrize(
    "text",
    [
        "north=http://a",
        "north/1",
        "north/1=ftp://a",
        "north/1=http://a/path",
        "north/1=http://a?x=1",
        "north/1=http://user:pw@a",
        "north/1=http://a:99999",
        "north/1=http://",
        "North/1=http://a",
        "a/b/c=http://a",
    ],
)
def test_malformed_edges_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_edge(text)


def test_edges_that_players_cannot_be_sent_to_are_refused() -> None:
    check(EDGES)
    for other in ("north/1=http://x.example:8081", "north/9=http://n1.example:8081", "north/9=http://x.example:8082"):
        with pytest.raises(ConfigError):
            check((*EDGES, parse_edge(other)))
    with pytest.raises(ConfigError, match="scheme or port"):
        check((parse_edge("a/1=http://x:443"), parse_edge("a/2=https://y")))
