from cdn_sim.live.peers import ALONE, Peers

URLS = tuple(f"http://edge-{number}" for number in range(5))


def test_every_edge_asks_the_same_peer_and_the_best_one_asks_none() -> None:
    for key in map(str, range(50)):
        best = Peers(URLS).ranked(key)[0]
        for itself in URLS:
            others = tuple(url for url in URLS if url != itself)
            assert Peers(others, itself).better(key) == (() if itself == best else (best,))


def test_without_a_peer_only_its_own_objects_move() -> None:
    for key in map(str, range(50)):
        ranked = Peers(URLS).ranked(key)
        assert Peers(tuple(url for url in URLS if url != ranked[0])).ranked(key) == ranked[1:]


def test_an_edge_alone_asks_no_peer() -> None:
    assert ALONE.better("film/video/1.m4s") == ALONE.ranked("film/video/1.m4s") == ()
